package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxTable is how many elements all tables of a module may hold together, at
// 8 bytes of the host's memory each.
const maxTable = 1 << 20

const (
	wasmHeader   = "\x00asm\x01\x00\x00\x00"
	tableSection = 4
)

var errModule = errors.New("it is no WebAssembly module of version 1")

// limitTables gives the module with a maximum on each of its tables, because
// the runtime's memory limit doesn't count them and a guest may grow them. A
// module whose tables are too large from the start is refused. Everything
// else is copied as it is; the compiler finds what is wrong with it.
func limitTables(wasm []byte) ([]byte, error) {
	if len(wasm) < len(wasmHeader) || string(wasm[:len(wasmHeader)]) != wasmHeader {
		return nil, errModule
	}
	rest := wasm[len(wasmHeader):]
	for len(rest) > 0 {
		id := rest[0]
		start := len(wasm) - len(rest)
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || size > uint64(len(rest)-1-n) {
			return nil, errModule
		}
		end := start + 1 + n + int(size)
		if id == tableSection {
			body, err := limitTableSection(wasm[start+1+n : end])
			if err != nil {
				return nil, err
			}
			out := append(make([]byte, 0, len(wasm)+64), wasm[:start]...)
			out = append(out, tableSection)
			out = binary.AppendUvarint(out, uint64(len(body)))
			out = append(out, body...)
			return append(out, wasm[end:]...), nil
		}
		rest = wasm[end:]
	}
	return wasm, nil
}

// limitTableSection rewrites the section: a count of tables, each of them a
// type, a flag that says whether a maximum follows, and the sizes.
func limitTableSection(b []byte) ([]byte, error) {
	tables, n := binary.Uvarint(b)
	if n <= 0 || tables > 64 {
		return nil, fmt.Errorf("it has %d tables, at most 64 will do", tables)
	}
	b = b[n:]
	out := binary.AppendUvarint(nil, tables)
	left := uint64(maxTable)
	for i := range tables {
		if len(b) < 2 || (b[0] != 0x70 && b[0] != 0x6f) || b[1] > 1 {
			return nil, fmt.Errorf("its table %d is of a kind that this host doesn't know", i)
		}
		kind, limited := b[0], b[1] == 1
		least, n := binary.Uvarint(b[2:])
		if n <= 0 {
			return nil, errModule
		}
		b = b[2+n:]
		most := uint64(maxTable)
		if limited {
			if most, n = binary.Uvarint(b); n <= 0 {
				return nil, errModule
			}
			b = b[n:]
		}
		share := left / (tables - i)
		if least > share {
			return nil, fmt.Errorf("its table %d has %d elements, at most %d will do", i, least, share)
		}
		most = max(min(most, share), least)
		left -= most
		out = append(out, kind, 1)
		out = binary.AppendUvarint(out, least)
		out = binary.AppendUvarint(out, most)
	}
	return append(out, b...), nil
}
