// SQLite, and what Swift can't form from its macros and variadic functions.
#ifndef FLEET_CSQLITE_H
#define FLEET_CSQLITE_H
#include <sqlite3.h>
// SQLITE_TRANSIENT: SQLite makes its own copy before the call returns.
static inline int fleet_bind_text(sqlite3_stmt *s, int i, const char *text, int length) {
    return sqlite3_bind_text(s, i, text, length, SQLITE_TRANSIENT);
}
static inline int fleet_bind_blob(sqlite3_stmt *s, int i, const void *bytes, int length) {
    return length == 0 ? sqlite3_bind_zeroblob(s, i, 0) : sqlite3_bind_blob(s, i, bytes, length, SQLITE_TRANSIENT);
}
// sqlite3_db_config is variadic; every option used here takes an int and an int pointer.
static inline int fleet_db_config(sqlite3 *db, int option, int value) {
    return sqlite3_db_config(db, option, value, (int *)0);
}
#endif
