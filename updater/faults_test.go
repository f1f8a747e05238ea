package updater

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// For the child: the folder of a story, and at which durable step it ends.
const (
	childDir = "SIGHTLINE_TEST_UPDATER_CHILD"
	childAt  = "SIGHTLINE_TEST_UPDATER_AT"
)

// story is a device's life in which every kind of durable step happens: it
// installs a bundle, and another with a restart during its probation, one that
// turns out slow, one that its gate refuses; goes back by command, and
// installs one with an operator's OK.
type story struct {
	Dir     string // the device's
	Repo    string
	Digests map[string]string // by version
}

var behaviours = []struct{ version, behaviour string }{
	{"1", "good"}, {"2", "good"}, {"3", "slow"}, {"4", "wrong"}, {"5", "good"},
}

func newStory(t testing.TB) *story {
	t.Helper()
	r := newRepo(t)
	d := newDevice(t, r)
	s := &story{Dir: d.dir, Repo: r.dir, Digests: map[string]string{}}
	for _, b := range behaviours {
		s.Digests[b.version] = r.publish(t, "caps", b.version, b.behaviour)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "story.json"), must(json.Marshal(s))(t), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// again is the same story on a device to which nothing has happened yet.
func (s *story) again(t testing.TB) *story {
	t.Helper()
	c := *s
	c.Dir = t.TempDir()
	if err := os.CopyFS(filepath.Join(c.Dir, "metadata"), os.DirFS(filepath.Join(s.Dir, "metadata"))); err != nil {
		t.Fatal(err)
	}
	return &c
}

func (s *story) device(t testing.TB, step func(string) error) *device {
	p := newPlant(t)
	p.trace = filepath.Join(s.Dir, "served")
	return &device{
		t: t, dir: s.Dir, repo: &repo{dir: s.Repo}, plant: p, step: step,
		stations: []Station{{ID: "one", Bundle: "caps", Policy: Ask}, {ID: "two", Bundle: "caps"}},
	}
}

func (s *story) commands() []*wire.Command {
	in := func(v string) *wire.Command {
		c := order(wire.Command_ACT_INSTALL, "story "+v, v, s.Digests[v])
		c.ProbationMs, c.Verdicts = 4000, 5
		return c
	}
	return []*wire.Command{
		in("1"), in("2"), in("3"), in("4"),
		order(wire.Command_ACT_ROLLBACK, "story back", "2", s.Digests["2"]), in("5"),
	}
}

// tell is the story from wherever the device is.
func (s *story) tell(d *device) {
	d.t.Helper()
	all := s.commands()
	first := 0
	if a := d.u.assignment("caps"); a != nil {
		first = slices.IndexFunc(all, func(c *wire.Command) bool { return must(readCommand(c))(d.t).id() == a.id() })
	}
	for i, c := range all[first:] {
		s.carryOut(d, c)
		if first+i == 1 {
			d.restart()
		}
		d.wait("the end of "+c.GetRollout(), func() bool {
			s.approve(d)
			return !slices.ContainsFunc(d.u.stations, func(st *station) bool {
				r := st.rec.Load()
				if c.GetAct() == wire.Command_ACT_ROLLBACK {
					return r.active().Digest == s.Digests["2"] || r.Phase.Open()
				}
				return r.Job.Digest != hexOf(c) || r.Phase.Open()
			})
		})
	}
	d.wait("all to be written", func() bool {
		return !slices.ContainsFunc(d.u.stations, func(st *station) bool { return st.dirty.Load() })
	})
}

func hexOf(c *wire.Command) string { return fmt.Sprintf("%x", c.GetDigest()) }

// carryOut sends a command again and again, as the fleet does, until it is on
// disk, and waits until all stations serve it or have ended with it.
func (s *story) carryOut(d *device, c *wire.Command) {
	d.t.Helper()
	want := must(readCommand(c))(d.t).id()
	d.wait(c.GetRollout(), func() bool {
		if a := d.u.assignment("caps"); a == nil || a.id() != want {
			d.u.Command(c)
			return false
		}
		s.approve(d)
		return !slices.ContainsFunc(d.u.stations, func(st *station) bool {
			r := st.rec.Load()
			return c.GetAct() == wire.Command_ACT_INSTALL && (r.Job.id() != want || r.Phase.Open() && r.Phase != Probation)
		})
	})
}

// approve is the operator, who presses the button as soon as it is there.
func (s *story) approve(d *device) {
	if r := d.u.stations[0].rec.Load(); r.Phase == Waiting && !r.Approved {
		_ = d.u.Approve("one") // pressed again if the disk fails
	}
}

// check is after a power cut: one start gives each station a bundle that is
// whole, the one that it ran or the one before.
func (s *story) check(t testing.TB, d *device) {
	t.Helper()
	for _, st := range d.u.stations {
		dir, digest, _, ok := d.u.Active(st.ID)
		if !ok {
			t.Fatalf("%s has nothing to run: %+v", st.ID, st.rec.Load())
		}
		d.plant.behaviour(dir) // complains of half a bundle
		served := s.served(st.ID)
		if !slices.Contains(served[max(len(served)-2, 0):], digest) {
			t.Errorf("%s runs %q, it ran %q before", st.ID, digest, served)
		}
	}
}

// served is what a station ran, in order.
func (s *story) served(id string) []string {
	list := []string{""}
	b, _ := os.ReadFile(filepath.Join(s.Dir, "served")) // nothing served yet
	for line := range strings.Lines(string(b)) {
		station, digest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if station == id && list[len(list)-1] != digest {
			list = append(list, digest)
		}
	}
	return list
}

// ends checks how the story must end, whatever happened on the way.
func (s *story) ends(t testing.TB, d *device) {
	t.Helper()
	for _, st := range d.u.stations {
		if r := st.rec.Load(); r.Phase != Committed || r.active().Digest != s.Digests["5"] || r.Begun != 0 {
			t.Errorf("%s ends %s with %q: %s", st.ID, r.Phase, r.active().Digest, r.Text)
		}
	}
	if d.plant.workers != 0 {
		t.Errorf("%d workers weren't given back", d.plant.workers)
	}
	d.end()
	d.open()
	if _, digest, _, ok := d.u.Active("one"); !ok || digest != s.Digests["5"] {
		t.Errorf("after the end %q is active", digest)
	}
	need := must(d.u.needed())(t)
	for _, c := range d.contents() {
		if !slices.Contains(need, c) {
			t.Errorf("%s is on disk still", c)
		}
	}
}

// points tells the story once and gives its durable steps.
func (s *story) points(t *testing.T) (list []string) {
	synctest.Test(t, func(t *testing.T) {
		d := s.device(t, func(p string) error { list = append(list, p); return nil }).start()
		s.tell(d)
		s.ends(t, d)
	})
	return list
}

// sweep calls f with each point, or, in a short run, with every so manieth.
func sweep(t *testing.T, points []string, every int, f func(i int, point string)) {
	n := 0
	if full() {
		every = 1
	}
	for i := time.Now().Nanosecond() % every; i < len(points) && !t.Failed(); i += every {
		f(i, points[i])
		n++
	}
	kinds := map[string]bool{}
	for _, p := range points {
		kinds[p] = true
	}
	t.Logf("%d of %d durable steps, of %d kinds", n, len(points), len(kinds))
}

// TestPowerCutDuringSwitch: kill -9 before and after each durable step of a
// device's life. It starts once, runs a whole bundle, and lives on to the end.
func TestPowerCutDuringSwitch(t *testing.T) {
	t.Parallel()
	story := newStory(t)
	first := story.points(t)
	const fewer = 16 // steps that a life may have less than another: its stations' come at the same moments, and some are written together
	sweep(t, first, 10, func(i int, point string) {
		s := story.again(t)
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
		cmd.Env = append(os.Environ(), childDir+"="+s.Dir+"\x1f"+s.Repo, childAt+"="+strconv.Itoa(i))
		out, err := cmd.CombinedOutput()
		if err == nil && i >= len(first)-fewer {
			t.Logf("its life ended before step %d of %d", i, len(first))
			return
		}
		if err == nil || err.Error() != "signal: killed" {
			t.Errorf("the child wasn't killed at %d, %s: %v\n%s", i, point, err, out)
			return
		}
		synctest.Test(t, func(t *testing.T) {
			d := s.device(t, nil).start()
			s.check(t, d)
			s.tell(d)
			s.ends(t, d)
			if t.Failed() {
				t.Errorf("it was killed at %d, %s", i, point)
			}
		})
	})
}

// TestChild is the child of TestPowerCutDuringSwitch.
func TestChild(t *testing.T) {
	dir, repo, ok := strings.Cut(os.Getenv(childDir), "\x1f")
	if !ok {
		t.Skip("it is the child of another test")
	}
	var s story
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(repo, "story.json")))(t), &s); err != nil {
		t.Fatal(err)
	}
	s.Dir = dir
	at := must(strconv.Atoi(os.Getenv(childAt)))(t)
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		d := s.device(t, func(string) error {
			if n.Add(1) == int64(at)+1 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // there is no afterwards
				select {}
			}
			return nil
		}).start()
		s.tell(d)
		d.end()
	})
}

// faults are what a disk may do at a step, and for how many from it on.
var faults = []struct {
	err   error
	steps int
}{{syscall.EIO, 1}, {syscall.ENOSPC, 1}, {syscall.ENOSPC, 12}}

// TestDiskFaults: EIO and ENOSPC at each durable step, before and after it.
// The same run goes on to the same end.
func TestDiskFaults(t *testing.T) {
	t.Parallel()
	first := newStory(t)
	sweep(t, first.points(t), 20, func(i int, point string) {
		for k, fault := range faults {
			if !full() && k != i/20%len(faults) {
				continue
			}
			s := first.again(t)
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int64
				d := s.device(t, func(string) error {
					if k := int(n.Add(1)); k > i && k <= i+fault.steps {
						return &os.PathError{Op: "write", Path: "disk", Err: fault.err}
					}
					return nil
				})
				for d.tryOpen() != nil { // the service manager starts it again
				}
				d.run()
				s.tell(d)
				s.check(t, d)
				s.ends(t, d)
				if t.Failed() {
					t.Errorf("%v for %d steps from %d, %s", fault.err, fault.steps, i, point)
				}
			})
		}
	})
}

func TestDiskErrorIsNotForTheBundle(t *testing.T) {
	for err, want := range map[error]Reason{syscall.EIO: Storage, syscall.ENOSPC: NoSpace, errors.New("cut"): FleetUnreachable} {
		if got, final := classify(fmt.Errorf("write: %w", err)); got != want || final {
			t.Errorf("%v is %s, %t", err, got, final)
		}
	}
}
