package updater

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// names of phases, for people.
func names(list []Phase) string {
	if slices.Equal(slices.Sorted(slices.Values(list)), slices.Sorted(slices.Values(every))) {
		return "any"
	}
	var s []string
	for _, p := range list {
		s = append(s, "`"+string(p)+"`")
	}
	return strings.Join(s, ", ")
}

// boxes are groups of phases that have steps in common.
var boxes = []struct {
	name   string
	phases []Phase
}{{"under_way", before}, {"ended", ended}}

// diagram shows what moves a station from one phase to another. A step that
// all of a box can make leaves from the box.
func diagram() string {
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	for _, box := range boxes {
		fmt.Fprintf(&b, "    state %s {\n", box.name)
		for _, p := range box.phases {
			fmt.Fprintf(&b, "        %s\n", p)
		}
		b.WriteString("    }\n")
	}
	b.WriteString("    [*] --> resting\n")
	arrows := map[string][]string{}
	var order []string
	for _, t := range machine {
		if t.to == stays || t.event == forget {
			continue
		}
		for _, from := range boxed(t.from) {
			arrow := fmt.Sprintf("    %s --> %s", from, t.to)
			if arrows[arrow] == nil {
				order = append(order, arrow)
			}
			arrows[arrow] = append(arrows[arrow], string(t.event))
		}
	}
	for _, arrow := range order {
		fmt.Fprintf(&b, "%s : %s\n", arrow, strings.Join(arrows[arrow], ", "))
	}
	return b.String() + "```\n"
}

// boxed is a list of phases with whole boxes in their place; a box without
// the resting phase counts as whole.
func boxed(list []Phase) []string {
	var out []string
	left := slices.Clone(list)
	for _, box := range boxes {
		if !slices.ContainsFunc(box.phases, func(p Phase) bool { return p != Resting && !slices.Contains(list, p) }) {
			out = append(out, box.name)
			left = slices.DeleteFunc(left, func(p Phase) bool { return slices.Contains(box.phases, p) })
		}
	}
	for _, p := range left {
		out = append(out, string(p))
	}
	return out
}

func reference() string {
	var b strings.Builder
	b.WriteString(`<!-- Made from updater/machine.go and updater/reasons.go by go generate. -->
# How a station goes from one bundle to the next

Each station that follows a bundle has one record on disk, in two copies with checksums; the older
copy is overwritten, so that a write that is cut short, a full disk or a bad sector leaves the newer
one. Every step below is on disk before what it allows is done, but those that say what serves,
which are written once it is so: a power cut before that gives the one before, which is good too.
The program doesn't know any other step.

`)
	b.WriteString(diagram())
	b.WriteString("\n## Phases\n\n| Phase | To the fleet | Meaning |\n|---|---|---|\n")
	for _, p := range phases {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", p.phase, p.wire, p.meaning)
	}
	b.WriteString("\n## Steps\n\n| Step | From | To | When |\n|---|---|---|---|\n")
	for _, t := range machine {
		to := "the same"
		if t.to != stays {
			to = "`" + string(t.to) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", t.event, names(t.from), to, t.why)
	}
	b.WriteString("\n## Reasons\n\nA phase that waits, or isn't good, has a reason. The codes are stable.\n\n| Reason | Meaning |\n|---|---|\n")
	for _, r := range reasons {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.code, r.meaning)
	}
	b.WriteString(rules)
	return b.String()
}

// rules are what the table can't say.
var rules = fmt.Sprintf(`
## What holds in every phase

- **What runs at the start.** All files of the active bundle are read and compared with their
  SHA-256. If one is damaged, the last good bundle runs, and if that is damaged too, the good one
  before it. If none is left, or both copies of the record are damaged, the station has no model and
  says so: what the configuration names in `+"`model:`"+` runs only until the first bundle is active, and
  again if that one is rolled back. After a lost record the newest command is done anew, gate and
  probation included.
- **A bundle that failed is not tried again by itself.** Another command may try it again; failures
  are counted on disk, and after %d of them it is refused for good on that station. A load that
  takes the program down, or that fails for no fault of the bundle, is tried %d times. A probation
  during which the program starts more than %d times ends before anything runs.
- **Probation** lasts as long as the command says (else %v) and until the station has told as many
  verdicts as the command says (else %d). After %v with too few it says `+"`idle`"+` and goes on; it is
  neither failed nor committed. It ends at once when the worker crashes in the first minute, or
  twice; when the device gets hotter than %d °C, or %d °C hotter than before; and, once %v have
  passed, when the model takes over %v times as long as the one before and longer than pictures are
  apart (until %v the usual picture must take longer than the slowest did before), when verdicts come
  late, or when the share of NONE rises by more than %.0f points.
- **Windows** go by the local wall clock. A clock that shows less than the program's build isn't
  set, and the window is closed. An operator's OK switches at once, whatever the policy.
- **After a change of runtime, driver or hardware** the active bundle must pass its gate again before
  it serves; if it is refused, the last good one is, under the same condition.
- **A command is no authority.** It may name any bundle of the name that the station follows which is
  signed now, older ones too: take out of the targets what must not come back.
- **Several stations** of one bundle share its files and its gate's result, and switch one by one,
  each by its own policy. The device proves to the fleet that it runs the bundle once all of them
  do.
- **On disk** are the active bundle, the last good one, the good one before it, and the one that is
  on its way. What nothing needs is removed.
`, maxFailed, maxBegun, maxBoots, defaultProbation, defaultVerdicts, idleAfter, hotCelsius, hotterBy, settleTime, slowFactor, tailTime, 100*noneMore)

func TestStatesReference(t *testing.T) {
	const file = "../docs/update-states.md"
	want := reference()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("%s is stale: run go generate ./updater\n%s", file, d)
	}
}

func TestMachineIsWhole(t *testing.T) {
	events := map[event]bool{}
	reached := map[Phase]bool{Resting: true}
	for range machine { // until nothing new is reached
		for _, tr := range machine {
			for _, from := range tr.from {
				if reached[from] && tr.to != stays {
					reached[tr.to] = true
				}
			}
			events[tr.event] = true
		}
	}
	for _, p := range phases {
		if !reached[p.phase] {
			t.Errorf("%s is never reached", p.phase)
		}
		if !slices.Contains(every, p.phase) {
			t.Errorf("%s is in none of the lists", p.phase)
		}
	}
	if len(phases) != len(every) || len(events) != len(machine) {
		t.Errorf("%d phases of %d, %d events in %d transitions: each stands once", len(phases), len(every), len(events), len(machine))
	}
	for _, p := range every {
		if p.Open() == slices.Contains(ended, p) {
			t.Errorf("%s is both open and ended, or neither", p)
		}
	}
}

// TestNothingServesUngated: into probation leads one step, from phases that
// only a passed gate leads to.
func TestNothingServesUngated(t *testing.T) {
	into := func(p Phase) (list []Phase) {
		for _, tr := range machine {
			for _, f := range tr.from {
				if tr.to == p && f != p {
					list = append(list, f)
				}
			}
		}
		return list
	}
	for phase, want := range map[Phase][]Phase{Probation: {Gated, Waiting}, Waiting: {Gated}, Gated: {Staged}, Staged: {Transfer}, Transfer: {Assigned}} {
		if d := cmp.Diff(want, into(phase)); d != "" {
			t.Errorf("into %s: %s", phase, d)
		}
	}
}

func TestIllegalStepIsRefused(t *testing.T) {
	for _, c := range []struct {
		from Phase
		e    event
	}{{Resting, activated}, {Staged, activated}, {Rejected, activated}, {Assigned, unpacked}, {Probation, assign}, {Committed, keep}, {Probation, refuse}} {
		if p, err := next(c.from, c.e); err == nil {
			t.Errorf("%s, %s leads to %s", c.from, c.e, p)
		}
	}
}

func TestEachReasonIsExplained(t *testing.T) {
	src, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(src), " Reason = \""); n != len(reasons) {
		t.Errorf("%d reasons, %d are explained", n, len(reasons))
	}
}
