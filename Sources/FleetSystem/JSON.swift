private import FoundationEssentials

/// JSON as the fleet writes it: keys sorted, slashes plain, so that the same value is always the same bytes. What is
/// signed or hashed is nevertheless always the bytes that travelled, never a second encoding.
public enum JSON {
    public static func encode(_ value: some Encodable, pretty: Bool = false) throws(FleetError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        do { return [UInt8](try encoder.encode(value)) } catch {
            throw FleetError(.internalError, "cannot encode \(type(of: value)): \(error)")
        }
    }

    public static func text(_ value: some Encodable, pretty: Bool = false) throws(FleetError) -> String {
        String(decoding: try encode(value, pretty: pretty), as: UTF8.self)
    }

    /// - Throws: `malformed`, naming the field that is wrong and never quoting its value.
    public static func decode<Value: Decodable>(_ type: Value.Type, from bytes: some Sequence<UInt8>) throws(FleetError)
        -> Value
    {
        do { return try JSONDecoder().decode(type, from: Data(bytes)) } catch let error as DecodingError {
            throw FleetError(.malformed, "not the JSON of \(type): \(place(error))")
        } catch {
            throw FleetError(.malformed, "not the JSON of \(type)")
        }
    }

    private static func place(_ error: DecodingError) -> String {
        func path(_ context: DecodingError.Context, _ last: (any CodingKey)? = nil) -> String {
            (context.codingPath + (last.map { [$0] } ?? [])).map(\.stringValue).joined(separator: ".")
        }
        return switch error {
        case .keyNotFound(let key, let context): "\(path(context, key)) is missing"
        case .typeMismatch(_, let context): "\(path(context)) has another type"
        case .valueNotFound(_, let context): "\(path(context)) is null"
        case .dataCorrupted(let context): context.codingPath.isEmpty ? "not JSON" : "\(path(context)) is not valid"
        @unknown default: "not valid"
        }
    }
}
