package rules

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

func TestCompileRefuses(t *testing.T) {
	e := newEngine(t, Config{})
	ok := answer(0, 0)
	for _, tt := range []struct {
		name string
		wasm []byte
		err  string
	}{
		{"empty", nil, "no WebAssembly module"},
		{"text", []byte("(module)"), "no WebAssembly module"},
		{"cut", says(passes).bytes()[:60], "no WebAssembly module"},
		{"another host", wasm{rule: ok, imports: []string{"env", "print"}}.bytes(), "imports the function env.print: a rule may import nothing but wasi_snapshot_preview1"},
		{"two imports", wasm{rule: ok, imports: []string{"wasi_snapshot_preview1", "proc_exit", "wasi_http", "get"}}.bytes(), "imports the function wasi_http.get"},
		{"no memory", wasm{rule: ok, noMemory: true}.bytes(), "exports no memory named memory"},
		{"rule returns i32", wasm{rule: []byte{0x41, 0x00}, ruleType: 1}.bytes(), "export rule has another signature than rule() -> i64"},
		{"no exports", []byte(wasmHeader), "exports no memory"},
		{"broken code", wasm{rule: []byte{0x41, 0x00}}.bytes(), "compile the WebAssembly module"},
		{"large table", wasm{rule: ok, table: append([]byte{1, 0x70, 0x00}, uleb(1<<27)...)}.bytes(), "table 0 has 134217728 elements, at most 1048576"},
		{"many tables", wasm{rule: ok, table: []byte{65}}.bytes(), "65 tables, at most 64"},
		{"odd table", wasm{rule: ok, table: []byte{1, 0x40, 0x00, 0x00}}.bytes(), "table 0 is of a kind"},
		{"cut table", wasm{rule: ok, table: []byte{1, 0x70, 0x01, 0x00}}.bytes(), "no WebAssembly module"},
	} {
		m, err := e.Compile(t.Context(), tt.name, tt.wasm)
		if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.HasPrefix(err.Error(), "rule "+tt.name+": ") {
			t.Errorf("%s gave %v, %v, want %q", tt.name, m, err, tt.err)
		}
	}
}

func TestUnknownWASI(t *testing.T) {
	e := newEngine(t, Config{})
	m, err := e.Compile(t.Context(), "odd", wasm{rule: answer(0, 0), imports: []string{"wasi_snapshot_preview1", "fly"}}.bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Rule(t.Context(), ""); err == nil || !strings.Contains(err.Error(), `"fly" is not exported in module "wasi_snapshot_preview1"`) {
		t.Errorf("got %v", err)
	}
	if _, err := e.Compile(t.Context(), "big", make([]byte, maxModule+1)); err == nil || !strings.Contains(err.Error(), "at most 67108864") {
		t.Errorf("a module too large gave %v", err)
	}
}

func TestUsualTimeLimit(t *testing.T) {
	e, err := NewEngine(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(t.Context())
	if e.limit != DefaultTimeLimit {
		t.Errorf("a decision may take %v, want %v", e.limit, DefaultTimeLimit)
	}
}

func TestConfigure(t *testing.T) {
	e := newEngine(t, Config{TimeLimit: patience})
	for _, tt := range []struct {
		name, params string
		guest        wasm
		err          string
	}{
		{"takes none", "x", says(passes), `takes no parameters, got "x": leave them out, or export configure`},
		{"refuses", "x", wasm{rule: answer(0, 0), configure: answer(4096, 4), data: "no\n!"}, `parameters "x": no !`},
		{"traps", "x", wasm{rule: answer(0, 0), configure: unreachable}, `hand over the parameters "x": wasm error: unreachable`},
	} {
		m, err := e.Compile(t.Context(), tt.name, tt.guest.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Rule(t.Context(), tt.params); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s gave %v, want %q", tt.name, err, tt.err)
		}
	}
}

// TestCacheDamaged: a damaged or unusable cache costs time, not the rule, and
// the damaged one is made anew.
func TestCacheDamaged(t *testing.T) {
	dir := t.TempDir()
	judge := func() error {
		t.Helper()
		e := newEngine(t, Config{CacheDir: dir})
		if d := newRule(t, e, says(passes)).Decide(t.Context(), partWith(), 640, 480); d.Verdict != vision.Pass {
			t.Fatalf("got %+v", d)
		}
		return e.CacheError()
	}
	files := func() []string {
		found, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if err := judge(); err != nil || len(files()) == 0 {
		t.Fatalf("the first run gave %v and kept %q", err, files())
	}
	for _, damage := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)/2] },
		func([]byte) []byte { return nil },
		func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) },
	} {
		for _, f := range files() {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f, damage(b), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := judge(); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("the damage was told as %v", err)
		}
		if err := judge(); err != nil || len(files()) == 0 {
			t.Errorf("the run after it gave %v and kept %q", err, files())
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "file", "cache")
	if err := judge(); err == nil || !strings.Contains(err.Error(), "keep compiled rules in "+dir) {
		t.Errorf("a cache folder that can't be made was told as %v", err)
	}
}

func TestLimitTables(t *testing.T) {
	max20, half := uleb(maxTable), uleb(maxTable/2)
	for _, tt := range []struct{ in, want []byte }{
		{[]byte{1, 0x70, 0, 5}, slices.Concat([]byte{1, 0x70, 1, 5}, max20)},                             // no maximum
		{[]byte{1, 0x70, 1, 5, 9}, []byte{1, 0x70, 1, 5, 9}},                                             // a small one stays
		{slices.Concat([]byte{1, 0x70, 1, 5}, uleb(1<<30)), slices.Concat([]byte{1, 0x70, 1, 5}, max20)}, // a large one doesn't
		{[]byte{2, 0x70, 0, 5, 0x6f, 0, 6}, slices.Concat([]byte{2, 0x70, 1, 5}, half, []byte{0x6f, 1, 6}, half)},
	} {
		if got, err := limitTableSection(tt.in); err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("%x became %x, %v, want %x", tt.in, got, err, tt.want)
		}
	}
}

// FuzzTables: whatever the bytes are, limitTables gives an error or a module
// whose own limits it then accepts as they are.
func FuzzTables(f *testing.F) {
	f.Add(says(passes).bytes())
	f.Add(wasm{rule: answer(0, 0), table: []byte{2, 0x70, 0x00, 0x05, 0x6f, 0x01, 0x01, 0x09}}.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := limitTables(b)
		if err != nil {
			return
		}
		twice, err := limitTables(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%x became %x, then %x, %v", b, once, twice, err)
		}
	})
}
