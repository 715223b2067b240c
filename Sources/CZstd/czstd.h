// zstd 1.5: only the stable interface, of which everything used here has been stable since 1.4.0.
#ifndef FLEET_CZSTD_H
#define FLEET_CZSTD_H
#include <zstd.h>
#endif
