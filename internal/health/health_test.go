package health

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/health.md anew")

func TestSetSortsByWorstThenOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		s.Raise(FramesDropped, "a", "")
		time.Sleep(time.Second)
		s.Raise(NoRule, "b", "")
		time.Sleep(time.Second)
		s.Raise(CameraSilent, "b", "nothing for 2 s")
		time.Sleep(time.Second)
		s.Raise(NoRule, "a", "")
		s.Raise(CameraSilent, "b", "nothing for 3 s") // the same one, later
		got := []string{}
		for _, r := range s.List() {
			got = append(got, fmt.Sprintf("%s %s %s", r.Severity, r.Code, r.Subject))
		}
		want := []string{"error camera_silent b", "warn no_rule b", "warn no_rule a", "info frames_dropped a"}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		first := s.List()[0]
		if first.Text != CameraSilent.Title+": nothing for 3 s" {
			t.Errorf("text is %q, want the newest detail", first.Text)
		}
		if age := time.Since(first.Since); age != time.Second {
			t.Errorf("raised %v ago, want 1s: the first raise counts", age)
		}
		s.Clear(CameraSilent, "b")
		s.Clear(CameraSilent, "never raised")
		if n := len(s.List()); n != 3 {
			t.Errorf("%d left after one was cleared, want 3", n)
		}
		if w := Worst(s.List()); w != Warn {
			t.Errorf("worst is %v, want warn", w)
		}
	})
}

func TestSetRaisedAgainIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		s.Raise(JournalFull, "", "")
		time.Sleep(time.Hour)
		s.Clear(JournalFull, "")
		s.Raise(JournalFull, "", "")
		if age := time.Since(s.List()[0].Since); age != 0 {
			t.Errorf("raised %v ago, want now", age)
		}
	})
}

func TestSetIsSafeForManyUsers(t *testing.T) {
	var s Set
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				s.Raise(NoRule, fmt.Sprint(i), "x")
				s.List()
				s.Clear(NoRule, fmt.Sprint(i))
			}
		})
	}
	wg.Wait()
	if l := s.List(); len(l) != 0 {
		t.Errorf("left over: %v", l)
	}
}

func TestRaisedJSON(t *testing.T) {
	in := Raised{"no_rule", Warn, "station1", "no rule", "Set one.", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"code":"no_rule","severity":"warn","subject":"station1","text":"no rule","do":"Set one.","since":"2026-01-02T03:04:05.000000006Z"}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var out Raised
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("read back as %+v, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"severity":"bad"}`), &out); err == nil {
		t.Error("severity bad was accepted")
	}
}

// Every Warning that the package declares is in All, has a good code and is
// written as the others are.
func TestDeclaredWarnings(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if c, ok := n.(*ast.CompositeLit); ok {
			if id, ok := c.Type.(*ast.Ident); ok && id.Name == "Warning" {
				declared++
			}
		}
		return true
	})
	if declared != len(All()) {
		t.Errorf("%d warnings are declared, All lists %d", declared, len(All()))
	}
	seen := map[string]bool{}
	for _, w := range All() {
		switch {
		case seen[w.Code]:
			t.Errorf("%s is declared twice", w.Code)
		case !regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`).MatchString(w.Code):
			t.Errorf("%q is no code", w.Code)
		case w.Severity < Info || w.Severity > Error:
			t.Errorf("%s has %v", w.Code, w.Severity)
		case w.Title == "" || strings.HasSuffix(w.Title, "."):
			t.Errorf("%s: title %q is empty or ends in a full stop; a detail may follow it", w.Code, w.Title)
		case !strings.HasSuffix(w.Do, "."):
			t.Errorf("%s: %q is no sentence", w.Code, w.Do)
		}
		seen[w.Code] = true
	}
}

// TestRefusalIsNotAlwaysTheBundles: one that doesn't go with the station's configuration
// is refused as well, has no pictures, and is installed again as it is.
func TestRefusalIsNotAlwaysTheBundles(t *testing.T) {
	for _, says := range []string{"the bundle, under a new version, or the station's configuration", "install it again"} {
		if !strings.Contains(UpdateRefused.Do, says) {
			t.Errorf("%s doesn't say %q: %s", UpdateRefused.Code, says, UpdateRefused.Do)
		}
	}
	if strings.Contains(UpdateRefused.Do, "picture") {
		t.Errorf("%s promises pictures: %s", UpdateRefused.Code, UpdateRefused.Do)
	}
}

func TestReferenceIsFresh(t *testing.T) {
	const file = "../../docs/health.md"
	var b strings.Builder
	b.WriteString("<!-- Made from internal/health/codes.go by go generate. -->\n# Health warnings\n\n" +
		"What a device, or the fleet, warns about, on its page and under `/v1/health`. The codes are stable.\n\n" +
		"- **error**: parts are rejected, or not inspected, until a person acts\n" +
		"- **warn**: inspection goes on, but not as it should\n" +
		"- **info**: worth knowing, nothing to do now\n\n" +
		"| Code | Severity | What is wrong | What to do |\n|---|---|---|---|\n")
	for _, w := range All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", w.Code, w.Severity, w.Title, w.Do)
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b.String(), string(got)); d != "" {
		t.Errorf("docs/health.md is stale: run go generate ./internal/health\n%s", d)
	}
}
