// Linux calls that Glibc's Swift module does not show, or shows only as macros.
#ifndef FLEET_CLINUX_H
#define FLEET_CLINUX_H

// No _GNU_SOURCE here: it changes the layout names of fd_set, and every module must see the same ones.
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

// pidfd_open(2), Linux 5.3; glibc has a wrapper only from 2.36, agents run on 2.34.
static inline int fleet_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

static inline int fleet_pipe(int ends[2]) { return (int)syscall(SYS_pipe2, ends, O_CLOEXEC); }

// glibc 2.29; its declaration is behind _GNU_SOURCE.
extern int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path);
static inline int fleet_spawn_in(posix_spawn_file_actions_t *actions, const char *directory) {
    return posix_spawn_file_actions_addchdir_np(actions, directory);
}

static inline int fleet_accept(int listener) {
    return (int)syscall(SYS_accept4, listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static inline int fleet_datagram_socket(void) { return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); }

// PR_SET_NAME, 15 characters are kept.
static inline void fleet_name_thread(const char *name) { prctl(15, name, 0, 0, 0); }

// SO_PEERCRED: who is at the other end of a Unix socket, as the kernel knows it.
static inline int fleet_peer_credentials(int fd, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct { pid_t pid; uid_t uid; gid_t gid; } credentials;
    socklen_t length = sizeof credentials;
    int result = getsockopt(fd, SOL_SOCKET, 17 /* SO_PEERCRED */, &credentials, &length);
    if (result == 0) { *pid = credentials.pid; *uid = credentials.uid; *gid = credentials.gid; }
    return result;
}

static inline unsigned short fleet_terminal_columns(int fd) {
    struct { unsigned short rows, columns, x, y; } size = {0, 0, 0, 0};
    return ioctl(fd, 0x5413 /* TIOCGWINSZ */, &size) == 0 ? size.columns : 0;
}

// mallopt(3): from this size on, memory is mapped by itself and goes back to the kernel when it is freed.
static inline int fleet_map_allocations_from(int bytes) {
#ifdef M_MMAP_THRESHOLD
    return mallopt(M_MMAP_THRESHOLD, bytes);
#else
    return (void)bytes, 1;
#endif
}

// TMPFS_MAGIC and RAMFS_MAGIC of statfs(2): 1 for a file system in memory, -1 for an error.
static inline int fleet_is_in_memory(const char *path) {
    struct statfs system;
    if (statfs(path, &system) != 0) return -1;
    return system.f_type == 0x01021994 || (unsigned int)system.f_type == 0x858458f6;
}

// open(2), O_TMPFILE: "Create an unnamed temporary regular file", here one that linkat(2) may name later. Shown only with
// _GNU_SOURCE.
static inline int fleet_open_unnamed(const char *directory, mode_t mode) {
    return open(directory, 020000000 | O_DIRECTORY | O_RDWR | O_CLOEXEC, mode);
}

// openat(2) of a directory that is one itself; it is variadic, which Swift can't call.
static inline int fleet_open_directory_at(int parent, const char *name) {
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// openat(2) of a file or directory that is no symbolic link; of a pipe, without a wait for who writes into it.
static inline int fleet_open_at(int parent, const char *name) {
    return openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

// renameat2(2), RENAME_NOREPLACE: "Don't overwrite newpath of the rename."
static inline int fleet_rename_new(const char *from, const char *to) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 1U);
}

// fallocate(2) without a flag: space for a file of that length.
static inline int fleet_allocate(int fd, long length) { return (int)syscall(SYS_fallocate, fd, 0, 0L, length); }

// FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE of fallocate(2), which Glibc's module shows only with _GNU_SOURCE.
static inline int fleet_punch_hole(int fd, int64_t offset, int64_t length) {
    return (int)syscall(SYS_fallocate, fd, 0x02 | 0x01, offset, length);
}

// mallopt(3): "M_TRIM_THRESHOLD (-1)"; M_ARENA_MAX (-8) is in malloc.h only.
static inline void fleet_keep_memory_small(void) {
    mallopt(-8, 1);
    mallopt(-1, 1 << 20);
}

// The commit that a program was built of. Behind the build, ops/lib/setup.sh writes it over the blanks in the program's file, so
// that a commit makes nothing be compiled anew; volatile, since what the compiler sees here is not what will be there.
static const volatile char fleet_commit_mark[] = "etcd-backup-fleet commit                         ;";

// What stands there, blanks included; returns its length.
static inline int fleet_commit(char *out, int size) {
    int start = sizeof "etcd-backup-fleet commit " - 1, end = sizeof fleet_commit_mark - 2, count = 0;
    for (int i = start; i < end && count < size; i++) out[count++] = fleet_commit_mark[i];
    return count;
}

// The wait status macros, which Swift can't call.
static inline int fleet_exited(int status) { return WIFEXITED(status); }
static inline int fleet_exit_status(int status) { return WEXITSTATUS(status); }
static inline int fleet_term_signal(int status) { return WTERMSIG(status); }

#endif
