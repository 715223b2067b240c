private import CLinux

/// How the process gets and gives back memory.
public enum Memory {
    /// One heap for all threads, given back when a megabyte of its end is free. glibc otherwise gives each thread a heap
    /// of its own and keeps what was freed there: four imports of 480 MB, one after the other, left 640 MB of a process
    /// that never needed more than 240, for half a second less of processor time. Call it before threads start.
    public static func keepSmall() { fleet_keep_memory_small() }
}
