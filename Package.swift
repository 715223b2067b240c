// swift-tools-version: 6.3
import PackageDescription

// Dependencies run one way: C modules, system, wrappers, protocol, agent and coordinator, mains.
// Agent and Coordinator know each other only through FleetProtocol.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

func library(
    _ name: String, path: String? = nil, resources: [Resource]? = nil, exclude: [String] = [],
    _ dependencies: [Target.Dependency]
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: path, exclude: exclude, resources: resources,
        swiftSettings: settings)
}
func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}
func tests(_ name: String, resources: [Resource] = [], exclude: [String] = [], _ dependencies: [Target.Dependency])
    -> Target
{
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, resources: resources, swiftSettings: settings)
}

let package = Package(
    name: "etcd-backup-fleet",
    products: [
        .executable(name: "fleet-coordinator", targets: ["fleet-coordinator"]),
        .executable(name: "fleet-agent", targets: ["fleet-agent"]),
        .executable(name: "fleetctl", targets: ["fleetctl"]),
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CChecksum"),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(
            name: "CMicrohttpd", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),

        library("FleetSystem", ["CLinux", "CChecksum"]),
        library("FleetCrypto", ["COpenSSL", "FleetSystem"]),
        library("FleetReactor", ["CLinux", "FleetSystem"]),
        library("FleetTLS", ["COpenSSL", "FleetSystem", "FleetCrypto"]),
        library("FleetYAML", ["CYAML", "FleetSystem"]),
        library("FleetSQLite", ["CSQLite", "FleetSystem", "FleetCrypto"]),
        library("FleetRepository", exclude: ["FORMAT.md"], ["CZstd", "FleetSystem", "FleetCrypto"]),
        library("FleetCommandLine", ["FleetSystem", "CLinux"]),
        library("FleetSchedule", ["FleetSystem"]),
        library("FleetHTTP", ["CMicrohttpd", "FleetSystem"]),
        library("FleetWebhook", ["CCurl", "FleetSystem"]),
        library("EtcdSnapshot", ["FleetSystem", "FleetCrypto"]),
        library(
            "FleetProtocol", path: "Protocol", exclude: ["README.md"],
            ["FleetSystem", "FleetCrypto", "FleetReactor", "FleetTLS"]),

        library("FleetConcerns", ["FleetSystem", "FleetProtocol", "FleetCommandLine"]),
        library(
            "FleetAgent", path: "Agent",
            [
                "FleetSystem", "FleetCrypto", "FleetReactor", "FleetTLS", "FleetYAML", "FleetProtocol",
                "FleetCommandLine",
            ]),
        library(
            "FleetCoordinator", path: "Coordinator", exclude: ["RECOVERY.md"],
            [
                "FleetSystem", "FleetCrypto", "FleetReactor", "FleetTLS", "FleetSQLite", "FleetRepository",
                "FleetSchedule", "FleetHTTP", "FleetWebhook", "EtcdSnapshot", "FleetProtocol", "FleetCommandLine",
                "FleetConcerns",
            ]),
        library(
            // A link to ops/systemd: where there are no packages, fleetctl brings the agent's unit itself.
            "FleetControl", resources: [.embedInCode("Install/fleet-agent.service")],
            [
                "EtcdSnapshot", "FleetSystem", "FleetCrypto", "FleetReactor", "FleetTLS", "FleetYAML", "FleetProtocol",
                "FleetCommandLine", "FleetConcerns",
            ]),

        program("fleet-coordinator", ["FleetCoordinator", "FleetCommandLine", "FleetSystem"]),
        program("fleet-agent", ["FleetAgent", "FleetCommandLine", "FleetSystem"]),
        program("fleetctl", ["FleetControl", "FleetCommandLine", "FleetSystem"]),

        .executableTarget(
            name: "fleet-bench",
            dependencies: [
                "EtcdSnapshot", "FleetCommandLine", "FleetCrypto", "FleetProtocol", "FleetReactor", "FleetRepository",
                "FleetSystem", "FleetTLS",
            ],
            path: "ops/bench/fleet-bench", swiftSettings: settings),

        tests("FleetSQLiteTests", ["FleetSQLite", "FleetSystem"]),
        library("RealEtcdProcess", path: "Tests/RealEtcdProcess", ["FleetSystem"]),
        library("EtcdSampleFiles", path: "Tests/EtcdSampleFiles", []),
        library("RepositoryTestFiles", path: "Tests/RepositoryTestFiles", ["FleetRepository", "FleetSystem"]),
        tests("FleetRepositoryTests", ["FleetRepository", "RepositoryTestFiles", "FleetCrypto", "FleetSystem"]),
        tests(
            "FleetCoordinatorTests",
            [
                "FleetCoordinator", "EtcdSnapshot", "FleetSQLite", "FleetRepository", "RepositoryTestFiles",
                "EtcdSampleFiles", "RealEtcdProcess", "FleetProtocol", "FleetCommandLine", "FleetControl",
                "FleetCrypto",
                "FleetReactor", "FleetTLS", "FleetSystem", "FleetSchedule", "FleetHTTP", "FleetConcerns",
                "FleetWebhook",
            ]),
        tests("RestoreSimulationTests", ["FleetAgent", "FleetCoordinator", "FleetProtocol", "FleetSystem"]),
        tests("FleetSystemTests", ["FleetSystem"]),
        tests(
            "EtcdSnapshotTests",
            [
                "EtcdSnapshot", "FleetCommandLine", "FleetControl", "FleetCrypto", "FleetSystem", "EtcdSampleFiles",
                "RealEtcdProcess",
            ]),
        tests("FleetScheduleTests", ["FleetSchedule", "FleetSystem"]),
        tests(
            "FleetCommandLineTests",
            ["FleetSystem", "FleetCommandLine", "FleetAgent", "FleetControl", "FleetCoordinator"]),
        tests("FleetProtocolTests", ["FleetSystem", "FleetCrypto", "FleetReactor", "FleetTLS", "FleetProtocol"]),
        tests(
            "FleetControlTests", ["FleetControl", "FleetCommandLine", "FleetCrypto", "FleetProtocol", "FleetSystem"]),
        tests("FleetLabTests", ["FleetSystem"]),
        tests("FleetYAMLTests", ["FleetYAML", "FleetSystem"]),
        tests(
            "FleetAgentTests",
            [
                "FleetAgent", "FleetCoordinator", "FleetProtocol", "FleetCrypto", "FleetReactor", "FleetTLS",
                "FleetSystem", "FleetYAML", "RealEtcdProcess",
            ]),
    ],
    swiftLanguageModes: [.v6]
)
