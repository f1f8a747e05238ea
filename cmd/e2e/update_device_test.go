package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/wire"
)

// follower is a real agent whose stations follow the bundle, behind cables of
// its own.
type follower struct {
	*enrolledStation
	https, mqtt *cable.Cable
	listeners   []*listener
}

// configure writes a device's configuration with one station for each of the
// texts, which are settings of it, and doesn't start it.
func (u *updates) configure(t *testing.T, more string, stations ...string) *follower {
	t.Helper()
	dir := t.TempDir()
	s := &folderStation{agent: agentProgram(t), config: filepath.Join(dir, "station.yaml"), data: filepath.Join(dir, "data"), address: lowAddress(t)}
	lines := []string{"listen: " + strconv.Quote(s.address), "data: " + strconv.Quote(s.data), "fleet: {report: 1s}", more, "stations:"}
	for n, text := range stations {
		lines = append(lines, "  - id: s"+strconv.Itoa(n+1), "    camera: {source: "+strconv.Quote(fmt.Sprint(u.camera, n+1))+"}", "    deadline: 20s",
			"    model: "+bundleName, "    bundle: "+bundleName, text)
	}
	if err := os.WriteFile(s.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &follower{enrolledStation: &enrolledStation{folderStation: s, t: t}}
}

// enrolled makes it a device of the group, and doesn't start it.
func (u *updates) enrolled(t *testing.T, f *follower, group string) *follower {
	t.Helper()
	f.https, f.mqtt = lay(t), lay(t)
	f.https.To(u.https.Addr())
	f.mqtt.To(u.mqtt.Addr())
	u.while(func() {
		token := u.command("token", "--group", group)
		printed(t, f.agent, "enroll", "--fleet", "https://"+f.https.Addr(), "--token", token, "--config", f.config)
	})
	about := filepath.Join(f.data, identity.FolderName, "fleet.json")
	text, err := os.ReadFile(about)
	if err != nil {
		t.Fatal(err)
	}
	rewired := bytes.ReplaceAll(text, []byte(":"+port(t, u.mqtt.Addr())+`"`), []byte(":"+port(t, f.mqtt.Addr())+`"`))
	if bytes.Equal(text, rewired) {
		t.Fatalf("the device's broker isn't in %s: %s", about, text)
	}
	if err := os.WriteFile(about, rewired, 0o600); err != nil {
		t.Fatal(err)
	}
	f.id = deviceOf(t, f.data)
	return f
}

// follower is an enrolled device that runs and that the fleet has heard of.
func (u *updates) follower(t *testing.T, group, more string, stations ...string) *follower {
	t.Helper()
	f := u.enrolled(t, u.configure(t, more, stations...), group)
	f.begin()
	u.online(f)
	return f
}

func (u *updates) online(f *follower) {
	f.t.Helper()
	slowly(f.t, "the device's connection", func() (is bool) {
		u.while(func() { is = u.presence(f.id) == "online" })
		return is
	})
}

func (f *follower) begin() {
	f.t.Helper()
	f.process = f.run(f.t)
	f.listeners = append(f.listeners, listen(f.t, f.address))
}

// restarted kills the agent with -9 and starts it again.
func (f *follower) restarted() {
	f.t.Helper()
	f.process.kill()
	f.begin()
}

// seenStation is a station as REST gives it, as far as the tests look.
type seenStation struct {
	State  string
	Signed bool
	Counts struct{ Pass, Fail, None uint64 }
	Camera struct { // of /v1/cameras
		Restarts uint64
		Rate     float64 `json:"rate_hz"`
	}
	Model struct {
		P50 float64 `json:"p50_ms"`
		P99 float64 `json:"p99_ms"`
	}
	Update struct {
		Active  *seenBundle
		Next    *seenBundle
		Failure *seenBundle
	}
}

// seenBundle is what runs, what comes or what failed.
type seenBundle struct {
	Version, Digest     string
	Phase, Reason, Text string
	Done                uint64 `json:"done_bytes"`
	Pictures            []string
}

// look is how a station is; the zero one while the agent doesn't answer.
func (f *follower) look(station string) (s seenStation) {
	if !get(f.address, "/v1/stations/"+station, &s) || !get(f.address, "/v1/cameras/"+station, &s.Camera) {
		return seenStation{}
	}
	return s
}

// phase is how far a station is with what comes.
func (s *seenStation) phase() string {
	if s.Update.Next == nil {
		return ""
	}
	return s.Update.Next.Phase
}

// active is the version of the bundle that runs; "" for none.
func (s *seenStation) active() string {
	if s.Update.Active == nil {
		return ""
	}
	return s.Update.Active.Version
}

func (s *seenStation) verdicts() uint64 { return s.Counts.Pass + s.Counts.Fail + s.Counts.None }

// until waits for a station to be so; the agent must live.
func (f *follower) until(station, what string, holds func(s *seenStation) bool) (s seenStation) {
	f.t.Helper()
	slowly(f.t, what, func() bool {
		if f.process.over() {
			f.t.Fatalf("%s: the agent ended: %v\n%s", what, f.process.err, tail(f.process.stderr.String()))
		}
		s = f.look(station)
		return holds(&s)
	})
	return s
}

// serves waits for verdicts of the station from now on.
func (f *follower) serves(station string) {
	f.t.Helper()
	var first *uint64
	f.until(station, "more verdicts", func(s *seenStation) bool {
		if n := s.verdicts(); s.State == "inspecting" {
			if first == nil {
				first = &n
			}
			return n > *first
		}
		return false
	})
}

// update runs the agent's command and gives its complaint.
func (f *follower) update(args ...string) error {
	var complaint bytes.Buffer
	cmd := exec.Command(f.agent, append(append([]string{"update"}, args...), "--config", f.config)...)
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, &complaint)
	}
	return nil
}

// approve lets the station switch.
func (f *follower) approve(station string) {
	f.t.Helper()
	if err := f.update("approve", station); err != nil {
		f.t.Fatal(err)
	}
}

// ends ends the agent, has the fleet get all that it recorded, and compares
// what was told, the journal and the fleet. It gives how many results of each
// bundle the fleet has, by digest.
func (u *updates) ends(f *follower) map[string]int {
	f.t.Helper()
	f.audit(u.central)
	_, heard := recorded(f.t, f.data)
	for _, l := range f.listeners {
		told, _ := l.all()
		compareTold(f.t, told, heard)
	}
	by := map[string]int{}
	for _, h := range u.has(f.id) {
		for _, row := range h.rows {
			r, err := wire.Decode(row.body)
			if err != nil {
				f.t.Fatal(err)
			}
			by[r.GetResult().GetBundleDigest()]++
		}
	}
	return by
}

// refusedUpdate wants an error that says all of these.
func refusedUpdate(t testing.TB, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the refusal is %v, which doesn't say %q", err, text)
		}
	}
}
