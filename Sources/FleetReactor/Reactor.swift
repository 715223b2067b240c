/// The global actor of all connections: its code runs on the event loop's thread and nowhere else, which the compiler
/// checks. State of a connection needs no lock and costs no thread.
@globalActor public actor Reactor {
    public static let shared = Reactor()

    public nonisolated var unownedExecutor: UnownedSerialExecutor { EventLoop.shared.asUnownedSerialExecutor() }
}
