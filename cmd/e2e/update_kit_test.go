package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// bundleName is the name of all bundles here, and of the shipped model that
// they are made from.
const bundleName = "drawn-parts"

const testPassphrase = "a passphrase of the test"

// longPatience is how long what takes many steps may take on a busy machine.
const longPatience = 2 * time.Minute

// desk is where bundles are made, signed and published: the keys, the login and
// the command-line program.
type desk struct {
	t       testing.TB
	program string
	dir     string
	repo    []string // flags of a repository in a folder; none for the fleet that is logged in to
}

func newDesk(t testing.TB, dir string) *desk {
	t.Helper()
	d := &desk{t: t, program: program(t, "sightline"), dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.passphrase(), []byte(testPassphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) passphrase() string { return filepath.Join(d.dir, "passphrase") }
func (d *desk) keys() string       { return filepath.Join(d.dir, "keys") }

// try runs the program with that on its standard input.
func (d *desk) try(stdin string, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.Command(d.program, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(d.dir, "config"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("sightline %s: %w: %s", strings.Join(args, " "), err, &complaint)
	}
	return out.String(), nil
}

func (d *desk) run(args ...string) string {
	d.t.Helper()
	out, err := d.try("", args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// makeKeys makes keys and root, for the fleet or the folder.
func (d *desk) makeKeys() {
	d.t.Helper()
	d.run(append([]string{"keys", "init", "--dir", d.keys(), "--passphrase-file", d.passphrase()}, d.repo...)...)
}

// publish signs an archive.
func (d *desk) publish(archive string, more ...string) {
	d.t.Helper()
	d.run(d.publishing(archive, more...)...)
}

func (d *desk) publishing(archive string, more ...string) []string {
	args := []string{"publish", archive, "--keys", d.keys(), "--passphrase-file", d.passphrase()}
	return append(append(args, d.repo...), more...)
}

// updates are a fleet with keys, the bundles that go out, and a camera that all
// devices look through.
type updates struct {
	*central
	desk     *desk
	camera   string // address of its pictures
	archives string // folder of <version>.slb
	digests  map[string]string
	there    *sync.RWMutex // held for writing while the fleet is away
}

// newUpdates makes a fleet below the folder that knows the desk's root.
func newUpdates(t testing.TB, dir string) *updates {
	t.Helper()
	c := prepareCentral(t, dir)
	c.serve()
	c.user = c.command("user", "token", "admin", "--for", "test")
	u := &updates{central: c, desk: newDesk(t, filepath.Join(dir, "desk")), digests: map[string]string{}, there: new(sync.RWMutex)}
	if _, err := u.desk.try(c.user+"\n", "login", "--fleet", "https://"+c.https.Addr(), "--ca", filepath.Join(c.dir, "ca", "ca.pem"), "--token-stdin"); err != nil {
		t.Fatal(err)
	}
	u.desk.makeKeys()
	return u
}

// away lets nobody ask the fleet while something is done to it.
func (u *updates) away(do func()) {
	u.there.Lock()
	defer u.there.Unlock()
	do()
}

// while does what needs the fleet, which stays meanwhile.
func (u *updates) while(do func()) {
	u.there.RLock()
	defer u.there.RUnlock()
	do()
}

// depot is where the fleet keeps a file of its repository.
func (u *updates) depot(path ...string) string {
	return filepath.Join(append([]string{u.dir, "updates"}, path...)...)
}

// film serves the camera until the test's end. It is slow, so that a good model
// has time on a busy machine, and its belt fast, so that there are parts.
func film(t testing.TB) string {
	t.Helper()
	drawn, err := scene.New(scene.Config{Seed: 4, Width: 384, Height: 216, Rate: filmRate, Speed: filmSpeed})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: drawn, Width: 384, Height: 216, Rate: filmRate})
	if err != nil {
		t.Fatal(err)
	}
	m.Quality = 90
	server := httptest.NewServer(m)
	done := make(chan error, 1)
	go func() { done <- m.Run(t.Context()) }()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return server.URL + "/camera"
}

const (
	filmRate  = 7.0 // pictures a second
	filmSpeed = 2.5
)

// recordGood makes the bundle that all others are made from.
func (u *updates) recordGood() string {
	u.t.Helper()
	good := filepath.Join(u.desk.dir, "good")
	if _, err := mutant.Drawn(good, mutant.GoldenPictures); err != nil {
		u.t.Fatal(err)
	}
	u.desk.run("bundle", "golden", good, "--images", filepath.Join(good, "golden"), "--agent", agentProgram(u.t))
	return good
}

// pack makes a bundle of that version: what change makes of the good one, or
// without change the same.
func (u *updates) pack(good, version string, change func(to string) error) {
	u.t.Helper()
	dir := filepath.Join(u.desk.dir, version)
	if change == nil {
		change = func(to string) error { return os.CopyFS(to, os.DirFS(good)) }
	}
	err := change(dir)
	if err == nil {
		err = mutant.SetVersion(dir, bundleName, version)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	var made struct{ Digest string }
	if err := json.Unmarshal([]byte(u.desk.run("bundle", "pack", dir, "--out", u.archive(version), "--json")), &made); err != nil {
		u.t.Fatal(err)
	}
	u.digests[version] = made.Digest
}

func (u *updates) archive(version string) string { return filepath.Join(u.archives, version+".slb") }

// seenRollout is a rollout as REST gives it, as far as the tests look.
type seenRollout struct {
	ID, State, Reason string
	Running           int `json:"devices_running"`
	Devices           []struct {
		Device, State, Reason, Text string
		Wave                        int
	}
}

func (r *seenRollout) ended() bool { return r.State != "running" && r.State != "rolling_back" }

// begin starts a rollout to a group and gives its ID.
func (u *updates) begin(t testing.TB, version, group string, more ...string) string {
	t.Helper()
	u.there.RLock()
	defer u.there.RUnlock()
	out, err := u.desk.try("", append([]string{"rollout", "start", bundleName + "@" + version, "--group", group, "--waves", "1,all",
		"--verdicts", "3", "--probation", "2s", "--timeout", "2m", "--json"}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	var r seenRollout
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r.ID
}

// rollout is how it is now; the zero one while the fleet doesn't answer.
func (u *updates) rollout(id string) (r seenRollout) {
	u.there.RLock()
	defer u.there.RUnlock()
	if status, text := u.ask("/v1/rollouts/" + id); status == http.StatusOK {
		_ = json.Unmarshal([]byte(text), &r) // what isn't whole is asked for again
	}
	return r
}

// follow waits for a rollout's end, which must be this state.
func (u *updates) follow(t testing.TB, id, state string) (r seenRollout) {
	t.Helper()
	slowly(t, "rollout "+id+" to be "+state, func() bool {
		r = u.rollout(id)
		return r.State != "" && r.ended()
	})
	if r.State != state {
		t.Fatalf("the rollout is %s, want %s: %s: %+v", r.State, state, r.Reason, r.Devices)
	}
	return r
}

// slowly is eventually for what takes seconds, and whose question costs.
func slowly(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(longPatience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, longPatience)
		case <-tick.C:
		}
	}
}

// port is the port of a host:port.
func port(t testing.TB, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
