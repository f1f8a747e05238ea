package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/scene"
)

// killed kills a worker of this kind below pid by -9 and waits until another
// one is there, for at most two seconds.
func killed(t *testing.T, pid int, kind string) {
	t.Helper()
	var before []int
	eventually(t, "a "+kind+" worker", func() bool {
		before = workers(pid, kind)
		return len(before) > 0
	})
	if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	eventually(t, "another "+kind+" worker", func() bool {
		now := workers(pid, kind)
		return len(now) > 0 && !slices.Contains(now, before[0])
	})
	if took := time.Since(at); took > 2*time.Second {
		t.Errorf("another %s worker came %v after the first was killed", kind, took)
	}
}

// inspected is how many frames the station's model has seen.
func inspected(addr string) (n uint64) {
	var s struct {
		Stations []struct {
			Views []struct {
				Inferred uint64 `json:"frames_inferred"`
			}
		}
	}
	if get(addr, "/v1/stations", &s) && len(s.Stations) > 0 {
		n = s.Stations[0].Views[0].Inferred
	}
	return n
}

// firstResult is how long a program takes now to start, load the model and look at
// one picture: what a machine that does much else is measured by.
func firstResult(t *testing.T, agent string) time.Duration {
	t.Helper()
	dir := t.TempDir()
	drawnPictures(t, dir, 1)
	began := time.Now()
	start(t, agent, "predict", "--model", "drawn-parts", "--images", dir).ends(patience)
	return time.Since(began)
}

// TestKilledWorkersLoseNoVerdict: drawn parts go by while workers are killed
// with -9; each part still gets one verdict, and frames are inspected again
// within two seconds, or, where the machine does much else, twice a start.
func TestKilledWorkersLoseNoVerdict(t *testing.T) {
	t.Parallel()
	agent, dir := agentProgram(t), t.TempDir()
	seconds, speed, rounds := 14, "0.6", []string{"infer", "capture", "infer"}
	if full() {
		seconds, speed, rounds = 300, "1", slices.Repeat(rounds, 17)
	}
	p := start(t, "/usr/bin/env", "TMPDIR="+dir, program(t, "sightline"), "demo", "--seconds", strconv.Itoa(seconds), "--json", "--seed", "3",
		"--speed", speed, "--listen", "127.0.0.1:0", "--outage", "0", "--agent", agent)
	var address string
	var pid int
	eventually(t, "the first device", func() bool {
		address, pid = firstDevice(dir, p.cmd.Process.Pid)
		return address != "" && pid != 0
	})
	for n, kind := range rounds {
		var told struct{ Results []answer }
		eventually(t, "another verdict", func() bool {
			return get(address, "/v1/results?limit=500", &told) && len(told.Results) > n
		})
		before := time.Now()
		killed(t, pid, kind)
		seen := inspected(address)
		eventually(t, "more frames", func() bool { return inspected(address) > seen })
		if took := time.Since(before); took > 2*time.Second {
			if bare := firstResult(t, agent); took > 2*bare {
				t.Errorf("round %d: frames were inspected %v after the %s worker was killed; a start takes %v", n, took, kind, bare)
			}
		}
	}
	p.ends(time.Duration(seconds)*time.Second + patience)
	var sum struct {
		True     int `json:"parts_true"`
		Parts    int
		Escapes  int
		Missed   int
		Double   int
		Phantoms int
	}
	if err := json.Unmarshal(p.stdout.Bytes(), &sum); err != nil {
		t.Fatalf("%v: %s", err, p.stdout.String())
	}
	t.Logf("%+v", sum)
	if sum.True < seconds/4 || sum.Parts != sum.True || sum.Missed+sum.Double+sum.Phantoms+sum.Escapes != 0 {
		t.Errorf("after kills: %+v", sum)
	}
}

// firstDevice is where the first device of a demo answers, and its process:
// below pid, with its scratch directory in dir.
func firstDevice(dir string, pid int) (address string, agent int) {
	files, _ := filepath.Glob(filepath.Join(dir, "sightline-demo-*", "device1", "station.yaml")) // the pattern is good
	if len(files) != 1 {
		return "", 0
	}
	text, _ := os.ReadFile(files[0]) // half of it has no address
	if m := regexp.MustCompile(`(?m)^listen: "(.+)"$`).FindSubmatch(text); m != nil {
		address = string(m[1])
	}
	for _, child := range workers(pid, files[0]) {
		return address, child
	}
	return address, 0
}

// folderStation is a station that looks at drawn pictures again and again.
type folderStation struct {
	agent, config, data, address string
}

func newFolderStation(t *testing.T, data, more string) *folderStation {
	t.Helper()
	dir := t.TempDir()
	s := &folderStation{agent: agentProgram(t), config: filepath.Join(dir, "station.yaml"), data: data, address: freeAddress(t)}
	pictures := filepath.Join(dir, "pictures")
	if err := os.Mkdir(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	drawnPictures(t, pictures, 5)
	text := strings.Join([]string{
		"listen: " + strconv.Quote(s.address), "data: " + strconv.Quote(data), "stations:", "  - id: one",
		"    camera: {source: " + strconv.Quote(pictures) + ", loop: true}", "    model: drawn-parts",
		"    rule: \"threshold:defect>0.5\"", more, ""}, "\n")
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// drawnPictures writes pictures of drawn parts, two seconds apart, to a folder.
func drawnPictures(t *testing.T, dir string, count int) {
	t.Helper()
	drawn, err := scene.New(scene.Config{Seed: 2, Width: 384, Height: 216})
	if err != nil {
		t.Fatal(err)
	}
	f := drawn.NewFrame()
	for n := range count {
		if err := drawn.Frame(50*n, f); err != nil {
			t.Fatal(err)
		}
		b, err := picture.EncodeJPEG(f, picture.Encoding{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jpg", n)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *folderStation) run(t *testing.T) *process {
	return start(t, s.agent, "run", "--config", s.config)
}

// recorded is what the journal says that the line heard, by part ID in the
// order of the records. No agent may run.
func recorded(t *testing.T, data string) (ids []string, heard map[string]string) {
	t.Helper()
	j, opened, err := journal.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if opened.Quarantined != "" {
		t.Fatalf("the journal was damaged: %s", opened.Reason)
	}
	rows, _, err := j.Query(0, math.MaxInt32, func(uint64, []byte) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	heard = map[string]string{}
	for _, row := range slices.Backward(rows) {
		rec, err := wire.Decode(row.Body)
		if err != nil {
			t.Fatal(err)
		}
		r := rec.GetResult()
		if r == nil {
			continue
		}
		var late *wire.Told
		if row.Amend != nil {
			amend, err := wire.Decode(row.Amend)
			if err != nil {
				t.Fatal(err)
			}
			late = amend.GetTold()
		}
		verdict, reason := r.Answered(late)
		id := r.Part().ID
		if _, twice := heard[id]; twice {
			t.Errorf("part %s is recorded twice", id)
		}
		ids = append(ids, id)
		heard[id] = verdict.String() + " " + reason
	}
	return ids, heard
}

// compareTold wants everything that was told in the journal, as it was told.
func compareTold(t *testing.T, told []answer, heard map[string]string) {
	t.Helper()
	wrong := 0
	for _, a := range told {
		if got := heard[a.ID]; got != a.heard() {
			if wrong++; wrong <= 5 {
				t.Errorf("part %s was told %q, the journal says %q", a.ID, a.heard(), got)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d told verdicts aren't in the journal as they were told", wrong, len(told))
	}
}

// TestKilledAgent: an agent killed by -9 takes its workers with it; all that it
// told is in the journal, and the next one goes on.
func TestKilledAgent(t *testing.T) {
	t.Parallel()
	rounds := 3
	if full() {
		rounds = 50
	}
	s := newFolderStation(t, t.TempDir(), "")
	var told []answer
	for round := range rounds {
		p := s.run(t)
		l := listen(t, s.address)
		eventually(t, "verdicts", func() bool {
			now, _ := l.all()
			return len(now) > 20
		})
		below := append(workers(p.cmd.Process.Pid, "infer"), workers(p.cmd.Process.Pid, "capture")...)
		if len(below) != 2 {
			t.Errorf("round %d: the agent has %d workers, want 2", round, len(below))
		}
		p.kill()
		at := time.Now()
		eventually(t, "the workers' end", func() bool { return !slices.ContainsFunc(below, alive) })
		if took := time.Since(at); took > 2*time.Second {
			t.Errorf("round %d: the workers outlived their agent by %v", round, took)
		}
		eventually(t, "the end of the events", func() bool { _, over := l.all(); return over })
		now, _ := l.all()
		told = append(told, now...)
		ids, heard := recorded(t, s.data)
		compareTold(t, told, heard)
		if len(ids) < len(told) {
			t.Errorf("round %d: %d verdicts told, %d recorded", round, len(told), len(ids))
		}
	}
}
