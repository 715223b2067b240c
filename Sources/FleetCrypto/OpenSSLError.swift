internal import COpenSSL
public import FleetSystem

extension FleetError.Code {
    /// libcrypto or libssl refused; the message has its own words.
    public static let crypto: Self = "crypto"
    /// A certificate, a chain or a signature is not what it must be.
    public static let untrusted: Self = "untrusted"
}

/// OpenSSL's error queue belongs to the thread, so it is read right behind the call that failed, in the same
/// synchronous function, and is empty afterwards.
package func openSSLReasons() -> String {
    var reasons: [String] = []
    while true {
        let code = ERR_get_error()
        if code == 0 { break }
        if let text = ERR_reason_error_string(code) { reasons.append(String(cString: text)) }
    }
    return reasons.joined(separator: ", ")
}

package func openSSLError(_ act: String, _ code: FleetError.Code = .crypto, hint: String? = nil) -> FleetError {
    let reasons = openSSLReasons()
    return FleetError(code, reasons.isEmpty ? act : "\(act): \(reasons)", hint: hint)
}

/// The object that a call made, or its error.
package func made<Object>(_ object: Object?, _ act: String) throws(FleetError) -> Object {
    guard let object else { throw openSSLError(act) }
    return object
}
