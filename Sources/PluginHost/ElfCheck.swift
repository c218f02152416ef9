// Is this file the shared object it claims to be: a bounded look at its headers, long before anything loads it.
package import Core

package enum ElfCheck {
    private static let allowed: Set<String> = [
        "libc.so.6", "libm.so.6", "libmvec.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libpthread.so.0", "libdl.so.2",
        "librt.so.1",
        "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libz.so.1", "libSwiftletKit.so", "libdispatch.so",
        "libBlocksRuntime.so",
    ]
    private static let allowedPrefixes = ["libswift", "libFoundation", "lib_Foundation"]
    fileprivate static let entry = "swiftlet_plugin_entry"

    /// - Parameters:
    ///   - isPlugin: it must export the entry function.
    ///   - beside: names of the files that are deployed with it, which it may link.
    package static func check(_ file: [UInt8], name: String, isPlugin: Bool, beside: Set<String>) throws(RuntimeError) {
        let elf = try Elf(file, name)
        try elf.checkSegments()
        let dynamic = try elf.dynamic()
        for library in dynamic.needed where !allowed.contains(library) && !beside.contains(library) {
            guard !library.contains("/"), !library.contains("$"), allowedPrefixes.contains(where: library.hasPrefix)
            else {
                throw refusal(
                    name, "it links \(library), which workers don't have",
                    "link it statically, or put it into the folder")
            }
        }
        for path in dynamic.searchPaths where path != "$ORIGIN" {
            throw refusal(name, "it looks for libraries in \(path)", "build it with no RUNPATH, or with $ORIGIN only")
        }
        if dynamic.hasTextRelocations {
            throw refusal(name, "it writes to its own code (TEXTREL)", "compile it with -fPIC")
        }
        if dynamic.hasAudit {
            throw refusal(name, "it asks the loader to load an auditor", "build it without -z audit")
        }
        if isPlugin, !dynamic.hasEntry {
            throw refusal(
                name, "it does not export \(entry)", "include swiftlet_abi.h and mark the function SWIFTLET_EXPORT")
        }
    }

    fileprivate static func refusal(_ name: String, _ cause: String, _ next: String) -> RuntimeError {
        RuntimeError(.pluginInvalid, step: "check \(name)", cause: cause, next: next)
    }
}

/// Field offsets and constants: ELF-64 Object File Format, version 1.5, and the gABI.
private struct Elf {
    struct Segment {
        let type, flags: UInt32
        let offset, address, fileSize, memorySize: UInt64
    }

    struct Dynamic {
        var needed: [String] = []
        var searchPaths: [String] = []
        var hasTextRelocations = false
        var hasAudit = false
        var hasEntry = false
    }

    struct Place {
        let offset, room: UInt64
    }

    /// The string table, as far as it lies in one segment.
    struct Strings {
        let file: [UInt8]
        let place: Place?
        let size: UInt64

        /// Nil when it doesn't end inside.
        subscript(index: UInt64) -> String? {
            // An index near the end of the number range must not wrap round into the file: compare before adding.
            guard let place, index < size, index < place.room else { return nil }
            let start = Int(place.offset + index)
            let bytes = file[start..<start + Int(min(place.room - index, 4096))]
            guard let zero = bytes.firstIndex(of: 0) else { return nil }
            return String(decoding: bytes[..<zero], as: UTF8.self)
        }

        /// Without making a string of each: a hostile table names the same long bytes thousands of times.
        func holds(_ text: [UInt8], at index: UInt64) -> Bool {
            guard let place, index < size, index < place.room else { return false }
            let start = Int(place.offset + index)
            return file[start..<start + Int(place.room - index)].starts(with: text)
        }
    }

    private let file: [UInt8]
    private let name: String
    private let segments: [Segment]

    #if arch(x86_64)
        private static let machine: (UInt64, String) = (62, "x86_64")
    #else
        private static let machine: (UInt64, String) = (183, "aarch64")
    #endif

    init(_ file: [UInt8], _ name: String) throws(RuntimeError) {
        self.file = file
        self.name = name
        func number(_ offset: UInt64, _ width: Int) -> UInt64? { Self.number(file, offset, width) }
        func refuse(_ cause: String) -> RuntimeError {
            ElfCheck.refusal(name, cause, "deploy a shared object for \(Self.machine.1) Linux")
        }
        guard file.count >= 64, file.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else { throw refuse("it is no ELF file") }
        guard file[4] == 2, file[5] == 1 else { throw refuse("it is no 64-bit little-endian ELF file") }
        guard number(16, 2) == 3 else { throw refuse("it is an ELF file but no shared object") }
        guard number(18, 2) == Self.machine.0 else {
            throw refuse("it is for another machine (number \(number(18, 2) ?? 0))")
        }
        guard let table = number(32, 8), number(54, 2) == 56, let count = number(56, 2), (1...64).contains(count) else {
            throw refuse("its program header is malformed")
        }
        var segments: [Segment] = []
        for index in 0..<count {
            let at = table &+ index * 56
            guard let type = number(at, 4), let flags = number(at &+ 4, 4), let offset = number(at &+ 8, 8),
                let address = number(at &+ 16, 8), let size = number(at &+ 32, 8), let memory = number(at &+ 40, 8)
            else { throw refuse("its program header is cut") }
            guard
                type != 1 || (offset <= UInt64(file.count) && size <= UInt64(file.count) - offset && memory <= 1 << 36)
            else {
                throw refuse("a segment lies outside the file")
            }
            segments.append(
                Segment(
                    type: UInt32(type), flags: UInt32(flags), offset: offset, address: address, fileSize: size,
                    memorySize: memory))
        }
        self.segments = segments
    }

    func checkSegments() throws(RuntimeError) {
        try checkOrder()
        for segment in segments {
            if segment.type == 1, segment.flags & 3 == 3 {
                throw ElfCheck.refusal(name, "a segment is writable and executable", "link it without -z rwx options")
            }
            if segment.type == 0x6474_e551, segment.flags & 1 == 1 {
                throw ElfCheck.refusal(name, "it asks for an executable stack", "link it with -z noexecstack")
            }
        }
    }

    /// The loader maps whole pages in order, later ones over earlier ones: with no page of two segments, what is read here is
    /// what it sees.
    private func checkOrder() throws(RuntimeError) {
        let page: UInt64 = 4096
        var end: UInt64 = 0
        for segment in segments where segment.type == 1 {
            // Sizes are bounded by `init`; an address near the end of the number range is no ordinary one either.
            guard segment.address & ~(page - 1) >= end, segment.address < 1 << 47,
                segment.fileSize <= segment.memorySize,
                segment.address % page == segment.offset % page
            else { throw ElfCheck.refusal(name, "its segments lie over each other", "link it with an ordinary linker") }
            end = segment.address + segment.memorySize
        }
    }

    func dynamic() throws(RuntimeError) -> Dynamic {
        guard let segment = segments.first(where: { $0.type == 2 }), segment.fileSize <= 1 << 16 else {
            throw ElfCheck.refusal(name, "it has no dynamic section", "link it with -shared")
        }
        // The loader goes by the address and by the last of several: what it reads must be what is read here.
        guard segments.count(where: { $0.type == 2 }) == 1, let place = place(segment.address),
            place.offset == segment.offset
        else {
            throw ElfCheck.refusal(name, "its dynamic section is ambiguous", "link it with an ordinary linker")
        }
        let entries = try entries(segment, room: place.room)
        func value(_ tag: UInt64) -> UInt64? { entries.first { $0.0 == tag }?.1 }
        let strings = Strings(file: file, place: value(5).flatMap { self.place($0) }, size: value(10) ?? 0)
        var result = Dynamic()
        for (tag, value) in entries {
            switch tag {
            // Filters and auxiliary libraries are loaded like needed ones.
            case 1, 0x7fff_ffff, 0x7fff_fffd: result.needed.append(strings[value] ?? "?")
            case 15, 29: result.searchPaths += (strings[value] ?? "?").split(separator: ":").map(String.init)
            case 22: result.hasTextRelocations = true
            case 30: result.hasTextRelocations = result.hasTextRelocations || value & 4 != 0
            case 0x6fff_fefc, 0x6fff_fefb: result.hasAudit = true
            default: break
            }
        }
        if let table = value(6).flatMap({ self.place($0) }) {
            result.hasEntry = defines(ElfCheck.entry, table.offset, strings)
        }
        return result
    }

    private func entries(_ segment: Segment, room: UInt64) throws(RuntimeError) -> [(UInt64, UInt64)] {
        var entries: [(UInt64, UInt64)] = []
        var hasEnd = false
        for index in 0..<min(segment.fileSize, room) / 16 {
            guard let tag = read(segment.offset &+ index * 16, 8),
                let value = read(segment.offset &+ index * 16 &+ 8, 8)
            else { break }
            hasEnd = tag == 0
            if hasEnd { break }
            entries.append((tag, value))
        }
        // The loader reads on until the end, whatever the section's size says.
        guard hasEnd else {
            throw ElfCheck.refusal(name, "its dynamic section has no end", "link it with an ordinary linker")
        }
        for tag in [5, 6, 10] as [UInt64] where entries.count(where: { $0.0 == tag }) > 1 {
            throw ElfCheck.refusal(name, "its dynamic section is ambiguous", "link it with an ordinary linker")
        }
        return entries
    }

    /// Looks for a defined global function. The symbol table ends where the string table begins, in every linker's layout;
    /// where that doesn't hold, the bound does.
    private func defines(_ symbol: String, _ table: UInt64, _ strings: Strings) -> Bool {
        let end = strings.place?.offset ?? 0
        let bytes = Array(symbol.utf8) + [0]
        let room = end > table ? (end - table) / 24 : 65_536
        for index in 0..<min(room, 65_536) {
            let at = table &+ index * 24
            guard let name = read(at, 4), let info = read(at &+ 4, 1), let section = read(at &+ 6, 2) else { break }
            if info & 15 == 2, section != 0, strings.holds(bytes, at: name) { return true }
        }
        return false
    }

    /// Where an address lies in the file, and how many bytes of its segment follow there.
    private func place(_ address: UInt64) -> Place? {
        for segment in segments
        where segment.type == 1 && address >= segment.address && address - segment.address < segment.fileSize {
            let into = address - segment.address
            return Place(offset: segment.offset + into, room: segment.fileSize - into)
        }
        return nil
    }

    private func read(_ offset: UInt64, _ width: Int) -> UInt64? { Self.number(file, offset, width) }

    private static func number(_ file: [UInt8], _ offset: UInt64, _ width: Int) -> UInt64? {
        guard offset <= UInt64(file.count), UInt64(file.count) - offset >= UInt64(width) else { return nil }
        var value: UInt64 = 0
        for index in 0..<width { value |= UInt64(file[Int(offset) + index]) << (8 * UInt64(index)) }
        return value
    }
}
