/// What is said of values that kube-apiserver has encrypted.
enum EncryptionWords {
    static func line(_ providers: [String]) -> String {
        "some values, by kube-apiserver (\(providers.joined(separator: ", "))): nobody reads them without its encryption configuration"
    }
}
