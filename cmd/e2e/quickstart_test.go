package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// step is one block of commands of docs/fleet-quickstart.md.
type step struct {
	machine, text string
}

var shBlock = regexp.MustCompile("(?s)```sh (fleet|device)\n(.*?)```")

// TestQuickstart runs docs/fleet-quickstart.md as it stands, its two machines
// being two network namespaces with a cable between them, and pulls that.
func TestQuickstart(t *testing.T) {
	bin := filepath.Dir(agentProgram(t))
	program(t, "sightline-fleet")
	if os.Getuid() != 0 {
		t.Skip("left out: network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("left out: no ip (Debian's iproute2)")
	}
	text, err := os.ReadFile("../../docs/fleet-quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for _, m := range shBlock.FindAllStringSubmatch(string(text), -1) {
		steps = append(steps, step{m[1], m[2]})
	}
	if len(steps) < 6 {
		t.Fatalf("the page has %d steps", len(steps))
	}
	q := newQuickstart(t, bin)
	for _, s := range steps {
		q.run(t, s)
	}
	eventually(t, "the fleet has a result", func() bool { return q.totals(t) > 0 })
	if q.output["devices"] == "" || !strings.Contains(q.output["devices"], "press 3") {
		t.Errorf("sightline devices said %q", q.output["devices"])
	}
	q.pull(t, "down")
	before := q.totals(t)
	eventually(t, "the device has decided more", func() bool { return q.backlog(t) >= 3 })
	if now := q.totals(t); now > before+3 {
		t.Errorf("over a pulled cable %d results came", now-before)
	}
	q.pull(t, "up")
	eventually(t, "the fleet has all", func() bool { return q.backlog(t) == 0 && q.totals(t) > before+3 })
}

// quickstart is the two machines.
type quickstart struct {
	name   map[string]string // network namespace by machine
	dir    map[string]string
	env    []string
	output map[string]string // of sightline's commands, by the command's name
}

func newQuickstart(t *testing.T, bin string) *quickstart {
	t.Helper()
	id := strconv.Itoa(os.Getpid())
	q := &quickstart{
		name: map[string]string{"fleet": "slf" + id, "device": "sld" + id},
		dir:  map[string]string{"fleet": t.TempDir(), "device": t.TempDir()}, output: map[string]string{},
	}
	q.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+t.TempDir())
	for _, name := range q.name {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("left out: no network namespaces here: %s", out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() }) // gone with its processes
	}
	f, d := q.name["fleet"], q.name["device"]
	for _, line := range []string{
		"link add name slq0-" + id + " type veth peer name slq1-" + id,
		"link set dev slq0-" + id + " netns " + f, "link set dev slq1-" + id + " netns " + d,
		"-n " + f + " link set dev slq0-" + id + " name cable", "-n " + d + " link set dev slq1-" + id + " name cable",
		"-n " + f + " addr add 10.77.0.1/24 dev cable", "-n " + d + " addr add 10.77.0.2/24 dev cable",
		"-n " + f + " link set dev cable up", "-n " + d + " link set dev cable up",
		"-n " + f + " link set dev lo up", "-n " + d + " link set dev lo up",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %s", line, out)
		}
	}
	return q
}

var initSays = regexp.MustCompile(`(?s)password: +(\S+).*fingerprint: +([0-9a-f]{64})`)

// run runs a step. What it leaves running ends with the test.
func (q *quickstart) run(t *testing.T, s step) {
	t.Helper()
	if s.machine == "device" && strings.Contains(s.text, "cat token") {
		token, err := os.ReadFile(filepath.Join(q.dir["fleet"], "token"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(q.dir["device"], "token"), token, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", q.name[s.machine], "bash", "-e", "-c", s.text)
	cmd.Dir, cmd.Env = q.dir[s.machine], q.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdin = strings.NewReader(q.output["password"] + "\n")
	// To a file, not a pipe: what goes on in the background holds it open.
	out, err := os.Create(filepath.Join(q.dir[s.machine], fmt.Sprintf("step-%d.log", len(q.output))))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	group := cmd.Process.Pid
	t.Cleanup(func() { _ = syscall.Kill(-group, syscall.SIGKILL) }) // only its own; none left is as good
	said, _ := os.ReadFile(out.Name())
	if err != nil {
		t.Fatalf("%s: %s\n%v: %s", s.machine, s.text, err, said)
	}
	q.output[s.text] = string(said)
	if m := initSays.FindSubmatch(said); m != nil {
		q.output["password"] = string(m[1])
		q.env = append(q.env, "FINGERPRINT="+string(m[2]))
	}
	if strings.Contains(s.text, "sightline devices") {
		q.output["devices"] = string(said)
	}
	if strings.HasSuffix(strings.TrimSpace(s.text), "&") {
		eventually(t, "what was started answers", func() bool { return q.answers(s) })
	}
}

// answers tells whether what a step started in the background is there.
func (q *quickstart) answers(s step) bool {
	port := "8090"
	switch {
	case strings.Contains(s.text, "sightline-fleet serve"):
		port = "8443"
	case strings.Contains(s.text, "sightline-agent run"):
		port = "8080"
	}
	return exec.Command("ip", "netns", "exec", q.name[s.machine], "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port).Run() == nil
}

// pull sets the cable up or down.
func (q *quickstart) pull(t *testing.T, state string) {
	t.Helper()
	if out, err := exec.Command("ip", "-n", q.name["fleet"], "link", "set", "dev", "cable", state).CombinedOutput(); err != nil {
		t.Fatalf("cable %s: %s", state, out)
	}
}

// totals is how many results the fleet has, by the operator's command.
func (q *quickstart) totals(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", q.name["fleet"], "bash", "-c", "sightline results --limit 500 --json")
	cmd.Env = q.env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sightline results: %v", err)
	}
	return bytes.Count(out, []byte(`"fleet_id"`))
}

// backlog is how many records wait on the device.
func (q *quickstart) backlog(t *testing.T) int {
	t.Helper()
	const ask = `exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /v1/fleet HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3`
	out, err := exec.Command("ip", "netns", "exec", q.name["device"], "bash", "-c", ask).Output()
	if err != nil {
		t.Fatalf("ask the device: %v", err)
	}
	_, body, _ := bytes.Cut(out, []byte("\r\n\r\n"))
	var f struct{ Backlog int }
	if err := json.Unmarshal(body, &f); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return f.Backlog
}
