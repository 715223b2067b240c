internal import CCurl
public import FleetSystem

/// Posts to where people want to be told, over libcurl. It blocks; each call has a handle of its own.
public enum Webhook {
    public struct Request: Sendable {
        public var url: String
        public var body: [UInt8]
        /// "Name: value" each.
        public var headers: [String]
        /// PEM; nil for the authorities of the system.
        public var authorities: String?
        public var allowsHTTP: Bool
        /// For all of it.
        public var deadline: Duration

        public init(
            url: String, body: [UInt8], headers: [String], authorities: String? = nil, allowsHTTP: Bool = false,
            deadline: Duration = .seconds(15)
        ) {
            self.url = url
            self.body = body
            self.headers = headers
            self.authorities = authorities
            self.allowsHTTP = allowsHTTP
            self.deadline = deadline
        }
    }

    static let answerLimit = 64 << 10

    // "This function must be called at least once within a program [...] before the program calls any other function in
    // libcurl"; from 7.84 on it is safe beside other threads, before that as here: once.
    private static let isReady = fleet_curl_start() == CURLE_OK

    /// Whether libcurl takes it for an address with a host that it can post to; its host and, where one is given, port.
    public static func host(_ url: String, allowsHTTP: Bool = false) -> String? {
        guard let parsed = curl_url() else { return nil }
        defer { curl_url_cleanup(parsed) }
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK
        else { return nil }
        func part(_ which: CURLUPart) -> String? {
            var text: UnsafeMutablePointer<CChar>?
            guard curl_url_get(parsed, which, &text, 0) == CURLUE_OK, let text else { return nil }
            defer { curl_free(text) }
            return String(cString: text)
        }
        guard let scheme = part(CURLUPART_SCHEME), scheme == "https" || allowsHTTP && scheme == "http",
            let host = part(CURLUPART_HOST), !host.isEmpty
        else { return nil }
        return "\(scheme)://\(host)\(part(CURLUPART_PORT).map { ":\($0)" } ?? "")"
    }

    /// - Throws: `webhook` where nothing answered, or the answer was none of 200 to 299; retryable but where that says that the
    ///   message will never be wanted. It names no more of the address than its host.
    public static func post(_ request: Request) throws(FleetError) {
        let place = host(request.url, allowsHTTP: request.allowsHTTP) ?? "the webhook"
        guard isReady, let handle = curl_easy_init() else { throw FleetError(.system, "libcurl did not start") }
        defer { curl_easy_cleanup(handle) }
        var headers: UnsafeMutablePointer<curl_slist>?
        defer { curl_slist_free_all(headers) }
        // An empty "Expect:" keeps libcurl from waiting for leave to send a body.
        for header in ["Content-Type: application/json", "Expect:"] + request.headers {
            headers = curl_slist_append(headers, header)
        }
        let errors = UnsafeMutablePointer<CChar>.allocate(capacity: fleet_curl_error_size)
        errors.initialize(repeating: 0, count: fleet_curl_error_size)
        defer { errors.deallocate() }
        let received = UnsafeMutablePointer<Int>.allocate(capacity: 1)
        received.initialize(to: 0)
        defer { received.deallocate() }

        var code = CURLE_OK
        func set(_ result: CURLcode) { if code == CURLE_OK { code = result } }
        set(fleet_curl_set_errors(handle, errors))
        set(fleet_curl_set_text(handle, CURLOPT_URL, request.url))
        set(fleet_curl_allow_only(handle, request.allowsHTTP ? 1 : 0))
        set(fleet_curl_set_text(handle, CURLOPT_USERAGENT, "fleet-coordinator/\(FleetVersion.current)"))
        // A redirection would carry the message to somebody whom nobody named.
        set(fleet_curl_set_number(handle, CURLOPT_FOLLOWLOCATION, 0))
        set(fleet_curl_set_number(handle, CURLOPT_NOSIGNAL, 1))
        set(fleet_curl_set_number(handle, CURLOPT_CONNECTTIMEOUT, 5))
        set(fleet_curl_set_number(handle, CURLOPT_TIMEOUT_MS, Int(request.deadline.seconds * 1000)))
        set(fleet_curl_set_list(handle, CURLOPT_HTTPHEADER, headers))
        set(
            fleet_curl_set_writer(
                handle,
                { _, size, count, context in
                    // What it answers is nobody's matter, so long as it ends.
                    guard let received = context?.assumingMemoryBound(to: Int.self) else { return 0 }
                    received.pointee += size * count
                    return received.pointee > Webhook.answerLimit ? 0 : size * count
                }, received))
        set(fleet_curl_set_number(handle, CURLOPT_POST, 1))
        set(fleet_curl_set_size(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.count)))
        // The copy is libcurl's own; the size has to be known before.
        request.body.withUnsafeBytes { bytes in
            set(
                fleet_curl_set_text(
                    handle, CURLOPT_COPYPOSTFIELDS, bytes.baseAddress?.assumingMemoryBound(to: CChar.self)))
        }
        if let authorities = request.authorities {
            set(trust(authorities, handle))
            // Those of the system's directory would be trusted beside them.
            set(fleet_curl_set_text(handle, CURLOPT_CAPATH, nil))
        }
        guard code == CURLE_OK else { throw failure(place, String(cString: curl_easy_strerror(code))) }

        code = curl_easy_perform(handle)
        var status = 0
        let isAnswered = fleet_curl_status(handle, &status) == CURLE_OK && status > 0
        // It was taken, however long the rest of the answer is.
        if isAnswered, (200..<300).contains(status) { return }
        guard code == CURLE_OK || isAnswered else {
            let detail = String(cString: errors)
            throw failure(place, detail.isEmpty ? String(cString: curl_easy_strerror(code)) : detail)
        }
        // The same again would be refused again, but for these: too late, too early, too many.
        let isRetryable = !(400..<500).contains(status) || [408, 425, 429].contains(status)
        throw failure(place, "it answered with HTTP status \(status)", retryable: isRetryable)
    }

    private static func trust(_ pem: String, _ handle: UnsafeMutableRawPointer) -> CURLcode {
        var bytes = Array(pem.utf8)
        return bytes.withUnsafeMutableBytes { bytes in
            var blob = curl_blob(
                data: bytes.baseAddress, len: bytes.count, flags: UInt32(CURL_BLOB_COPY))
            return fleet_curl_set_blob(handle, CURLOPT_CAINFO_BLOB, &blob)
        }
    }

    private static func failure(_ place: String, _ why: String, retryable: Bool = true) -> FleetError {
        FleetError(.webhook, "\(place) did not take it: \(why)", retryable: retryable)
    }
}

extension FleetError.Code {
    public static let webhook: Self = "webhook"
}
