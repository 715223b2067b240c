/// What `etcdctl -w json` prints: Go's encoding of etcd's messages, zero values left out, 64-bit ids as plain numbers
/// above 2^53.
enum Answers {
    struct Header: Decodable {
        var clusterID: UInt64?
        var memberID: UInt64?
        var revision: Int64?
        enum CodingKeys: String, CodingKey {
            case clusterID = "cluster_id"
            case memberID = "member_id"
            case revision
        }
    }

    struct Endpoint: Decodable {
        struct Status: Decodable {
            var header: Header
            var version: String?
            var dbSize: Int64?
            var leader: UInt64?
            var raftIndex: UInt64?
            var raftAppliedIndex: UInt64?
            var isLearner: Bool?
            var errors: [String]?
        }
        var status: Status
        enum CodingKeys: String, CodingKey { case status = "Status" }
    }

    struct HashedEndpoint: Decodable {
        struct Hash: Decodable {
            var header: Header?
            var hash: UInt32?
            var compactRevision: Int64?
            enum CodingKeys: String, CodingKey {
                case header, hash
                case compactRevision = "compact_revision"
            }
        }
        var hash: Hash
        enum CodingKeys: String, CodingKey { case hash = "HashKV" }
    }

    struct Health: Decodable {
        var health: Bool
        var error: String?
    }

    struct Members: Decodable {
        struct Member: Decodable {
            var id: UInt64
            var name: String?
            var peerURLs: [String]?
            var isLearner: Bool?
            enum CodingKeys: String, CodingKey {
                case id = "ID"
                case name, peerURLs, isLearner
            }
        }
        var members: [Member]
    }

    struct Added: Decodable {
        var member: Members.Member
    }

    struct Alarms: Decodable {
        struct Alarm: Decodable {
            var memberID: UInt64?
            var alarm: Int?
        }
        var alarms: [Alarm]?
    }

    struct Range: Decodable {
        struct KeyValue: Decodable {
            var key: String
            var modRevision: Int64?
            var value: String?
            enum CodingKeys: String, CodingKey {
                case key, value
                case modRevision = "mod_revision"
            }
        }
        var count: Int64?
        var kvs: [KeyValue]?
    }
}
