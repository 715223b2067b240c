private import COpenSSL

/// Left to itself, OpenSSL frees at `exit` what threads that still work use: a program that had done all of its work then
/// died of a signal, and whoever asked for its exit status was told of a failure. The system frees all of it anyway.
///
/// OpenSSL decides this once, at the first call of any of its functions, and every part of a program may make that one,
/// libcurl too: so it is told before `main`.
/// Source: OPENSSL_init_crypto(3), OPENSSL_INIT_NO_ATEXIT.
@section(".init_array") @used
private let keepsOpenSSLAtExit: @convention(c) () -> Void = {
    _ = OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil)
}
