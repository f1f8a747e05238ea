package rules

import (
	"encoding/binary"
	"os"
	"testing"
)

// cacheDir holds the modules compiled in this run of the tests.
var cacheDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sightline-rules-")
	if err != nil {
		panic(err)
	}
	cacheDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// wasm describes a small guest: what isn't set is as a good rule has it.
type wasm struct {
	rule      []byte   // body; its functions are numbered from len(imports): alloc, rule, configure
	alloc     []byte   // body; nil answers 1024
	configure []byte   // body; nil exports none
	imports   []string // module, name, each a function (i32) -> ()
	pages     byte     // of memory at the start, less than 64; 0 is 1
	data      string   // at address 4096
	table     []byte   // table section's body, nil for none
	noMemory  bool     // leave out memory's export
	ruleType  byte     // 2 is () -> i64
}

// Instructions and their arguments, from the core specification's appendix.
var (
	unreachable = []byte{0x00}
	endless     = []byte{0x03, 0x40, 0x0c, 0x00, 0x0b, 0x42, 0x00} // loop br 0 end; i64.const 0
)

// answer is a rule's body that answers n bytes at the address.
func answer(at, n uint32) []byte {
	return append([]byte{0x42}, sleb(int64(uint64(at)<<32|uint64(n)))...)
}

// says is a guest that answers the data.
func says(data string) wasm { return wasm{rule: answer(4096, uint32(len(data))), data: data} }

// passes is the shortest answer PASS "ok".
const passes = "\x01\x00\x01\x00\x02\x00ok"

func (w wasm) bytes() []byte {
	functions := []byte{1, cmpOr(w.ruleType, 2)}
	bodies := [][]byte{w.alloc, w.rule}
	first := byte(len(w.imports) / 2)
	exports := [][]byte{export("alloc", 0, first), export("rule", 0, first+1)}
	if w.alloc == nil {
		bodies[0] = []byte{0x41, 0x80, 0x08} // i32.const 1024
	}
	if w.configure != nil {
		functions = append(functions, 2)
		bodies = append(bodies, w.configure)
		exports = append(exports, export("configure", 0, first+2))
	}
	if !w.noMemory {
		exports = append(exports, export("memory", 2, 0))
	}
	var imports, code [][]byte
	for i := 0; i < len(w.imports); i += 2 {
		imports = append(imports, append(append(name(w.imports[i]), name(w.imports[i+1])...), 0, 3))
	}
	for _, b := range bodies {
		b = append(append([]byte{0}, b...), 0x0b) // no locals; end
		code = append(code, append(uleb(len(b)), b...))
	}
	types := []byte{4, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 0, 1, 0x7e, 0x60, 1, 0x7f, 0}
	out := []byte(wasmHeader)
	out = section(out, 1, types)
	out = section(out, 2, vector(imports))
	out = section(out, 3, append(uleb(len(functions)), functions...))
	if w.table != nil {
		out = section(out, tableSection, w.table)
	}
	out = section(out, 5, []byte{1, 0, cmpOr(w.pages, 1)})
	out = section(out, 7, vector(exports))
	out = section(out, 10, vector(code))
	if w.data != "" {
		at := append([]byte{0, 0x41}, sleb(4096)...)
		out = section(out, 11, append(append(append([]byte{1}, at...), 0x0b), name(w.data)...))
	}
	return out
}

func cmpOr(v, other byte) byte {
	if v == 0 {
		return other
	}
	return v
}

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func sleb(v int64) []byte {
	var b []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func name(s string) []byte { return append(uleb(len(s)), s...) }

func export(s string, kind, index byte) []byte { return append(name(s), kind, index) }

func vector(list [][]byte) []byte {
	b := uleb(len(list))
	for _, e := range list {
		b = append(b, e...)
	}
	return b
}

func section(out []byte, id byte, body []byte) []byte {
	return append(append(append(out, id), uleb(len(body))...), body...)
}
