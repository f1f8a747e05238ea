package plc

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of docs/plc.md anew")

// tables are those of docs/plc.md that are made from the code, by name.
func tables() map[string]string {
	var coil, discrete, input, holding, reason, complaint strings.Builder
	coil.WriteString("| Coil | Name | Meaning |\n|---|---|---|\n")
	for _, c := range coilTable {
		fmt.Fprintf(&coil, "| %d | %s | %s |\n", c.at, c.name, c.meaning)
	}
	discrete.WriteString("| Discrete input | Name | Meaning |\n|---|---|---|\n")
	for _, s := range statusTable {
		fmt.Fprintf(&discrete, "| %d | %s | %s |\n", s.at, s.name, s.meaning)
	}
	input.WriteString("| Input register | Name | Meaning |\n|---|---|---|\n")
	for _, r := range inputTable {
		fmt.Fprintf(&input, "| %s | %s | %s |\n", span(r.at, r.count), r.name, r.meaning)
	}
	holding.WriteString("| Holding register | Name | Meaning |\n|---|---|---|\n")
	for _, r := range holdingTable {
		fmt.Fprintf(&holding, "| %s | %s | %s |\n", span(r.at, r.count), r.name, r.meaning)
	}
	reason.WriteString("| Code | Reason | Meaning |\n|---|---|---|\n")
	for _, r := range reasonCodes {
		name := ""
		switch {
		case r.reason != "" && strings.HasSuffix(r.reason, "_"):
			name = "`" + r.reason + "…`"
		case r.reason != "":
			name = "`" + r.reason + "`"
		}
		fmt.Fprintf(&reason, "| %d | %s | %s |\n", r.code, name, r.meaning)
	}
	complaint.WriteString("| Line begins with | Meaning |\n|---|---|\n")
	for _, c := range complaints {
		fmt.Fprintf(&complaint, "| `E %d %s` | %s |\n", c.code, c.text, c.meaning)
	}
	return map[string]string{
		"coils": coil.String(), "discrete inputs": discrete.String(), "input registers": input.String(),
		"holding registers": holding.String(), "reasons": reason.String(), "complaints": complaint.String(),
	}
}

func span(at, count int) string {
	if count == 1 {
		return fmt.Sprint(at)
	}
	return fmt.Sprintf("%d–%d", at, at+count-1)
}

func TestReference(t *testing.T) {
	const file = "../../docs/plc.md"
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := got
	for name, table := range tables() {
		head, tail := "<!-- "+name+", made by go generate -->\n", "<!-- end -->\n"
		before, rest, ok := bytes.Cut(want, []byte(head))
		_, after, closed := bytes.Cut(rest, []byte(tail))
		if !ok || !closed {
			t.Fatalf("%s has no place for the table of %s", file, name)
		}
		want = bytes.Join([][]byte{before, []byte(head + table + tail), after}, nil)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is stale: run go generate ./agent/plc\n%s", file, d)
	}
}

// The tables are what the code goes by: their places don't overlap and fill their blocks.
func TestRegisterMap(t *testing.T) {
	at := 0
	for _, r := range inputTable {
		if r.at != at || (r.fill == nil) != (r.name == "") {
			t.Errorf("input register %d %s: want it at %d", r.at, r.name, at)
		}
		at += r.count
	}
	if at != inputCount {
		t.Errorf("the input registers end at %d, not at %d", at, inputCount)
	}
	at = 0
	for _, r := range holdingTable[:len(holdingTable)-1] {
		if r.at != at {
			t.Errorf("holding register %d %s: want it at %d", r.at, r.name, at)
		}
		at += r.count
	}
	if at != holdingCount {
		t.Errorf("the holding registers end at %d, not at %d", at, holdingCount)
	}
	for n, s := range statusTable {
		if s.at != n {
			t.Errorf("discrete input %d %s: want it at %d", s.at, s.name, n)
		}
	}
	for _, name := range []string{"", "x", "part-7", strings.Repeat("y", maxID)} {
		regs := make([]uint16, idRegisters)
		if pack(regs, name); unpack(regs) != name {
			t.Errorf("%q comes back as %q", name, unpack(regs))
		}
	}
	if got := unpack([]uint16{0x4142, 0x2020, 0x2000}); got != "AB" {
		t.Errorf("spaces fill up: got %q", got)
	}
}
