private import Glibc

extension FleetError {
    /// An errno with what was being done. ENOSPC, EACCES, ENOENT and their kind get codes that callers decide on.
    package init(errno code: Int32, _ act: String, hint: String? = nil) {
        let reason = String(cString: strerror(code)).lowercased()
        let kind: (FleetError.Code, String?) =
            switch code {
            case ENOENT, ENOTDIR: (.notFound, nil)
            case EEXIST: (.alreadyExists, nil)
            case EACCES, EPERM: (.permissionDenied, "run it as root, or give this user the right")
            case ENOSPC, EDQUOT: (.noSpace, "free some space on that file system, then try again")
            case ETIMEDOUT: (.timedOut, nil)
            default: (.system, nil)
            }
        self.init(kind.0, "\(act): \(reason)", hint: hint ?? kind.1)
    }
}

/// The only place that knows EINTR: repeats the call until it is answered, then returns its result or throws the errno.
@discardableResult
package func systemCall<Result: FixedWidthInteger & SignedInteger>(
    _ act: @autoclosure () -> String, _ call: () -> Result
) throws(FleetError) -> Result {
    while true {
        let result = call()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw FleetError(errno: code, act()) }
    }
}
