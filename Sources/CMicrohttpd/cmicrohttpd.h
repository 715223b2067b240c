// libmicrohttpd: the small HTTP server that metrics and probes are read from.
#include <microhttpd.h>

// Its closed enumerations reach Swift without the names of their values, and options travel as plain numbers.
static const int fleet_mhd_option_end = MHD_OPTION_END;
static const int fleet_mhd_option_listen_socket = MHD_OPTION_LISTEN_SOCKET;
static const int fleet_mhd_option_connection_limit = MHD_OPTION_CONNECTION_LIMIT;
static const int fleet_mhd_option_connection_timeout = MHD_OPTION_CONNECTION_TIMEOUT;
static const unsigned int fleet_mhd_flags = MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC;
static const enum MHD_Result fleet_mhd_yes = MHD_YES;
static const enum MHD_Result fleet_mhd_no = MHD_NO;
static const enum MHD_ResponseMemoryMode fleet_mhd_must_copy = MHD_RESPMEM_MUST_COPY;
