package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/sync/identity"
)

// output is what a program prints, to be read meanwhile.
type output struct {
	mu     sync.Mutex // protects what follows
	text   []byte     // its beginning
	rest   []byte     // of a line that isn't complete
	newest string     // complete line
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b[:min(len(b), max(0, 1<<16-len(o.text)))]...)
	o.rest = append(o.rest, b...)
	if end := bytes.LastIndexByte(o.rest, '\n'); end >= 0 {
		whole := o.rest[:end]
		o.newest = string(whole[bytes.LastIndexByte(whole, '\n')+1:])
		o.rest = bytes.Clone(o.rest[end+1:])
	}
	return len(b), nil
}

func (o *output) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

func (o *output) line() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newest
}

// launch is start for a program whose output is read meanwhile, with more in
// its environment, and with its clock off by so much.
func launch(t testing.TB, out *output, ahead time.Duration, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, &p.stderr
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := p.cmd.Start
	if ahead != 0 {
		begin = func() error { return startShifted(t, p.cmd, ahead) }
	}
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // most have ended
		<-p.done
		if t.Failed() {
			t.Logf("%s: %v\n%s", filepath.Base(path), p.err, tail(p.stderr.String()))
		}
	})
	return p
}

// over reports whether the program has ended.
func (p *process) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// finish ends it by SIGTERM, whenever a busy machine comes to that.
func (p *process) finish() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	p.ends(patience)
}

// printed is what a program prints that ends with 0.
func printed(t testing.TB, path string, args ...string) string {
	t.Helper()
	var complaint bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", filepath.Base(path), args, err, &complaint)
	}
	return strings.TrimSpace(string(out))
}

// central is a fleet service as a program, with a network before it that can
// be cut. Each start of it is at other ports; devices don't notice.
type central struct {
	t           testing.TB
	program     string
	dir         string
	https, mqtt *cable.Cable
	mosquitto   *mosquitto    // nil with the broker inside
	ahead       time.Duration // its clock
	out         *output
	process     *process
	page        string // its address without TLS
	broker      string // address of the broker itself
	user        string // token of its REST interface, once asked for
}

// newCentral makes a fleet and serves it, with the broker inside or with
// Mosquitto.
func newCentral(t testing.TB, outside bool) *central {
	t.Helper()
	c := prepareCentral(t, t.TempDir())
	if outside {
		c.mosquitto = newMosquitto(t, c)
	}
	c.serve()
	return c
}

// prepareCentral makes a fleet below the folder.
func prepareCentral(t testing.TB, dir string) *central {
	t.Helper()
	c := &central{t: t, program: program(t, "sightline-fleet"), dir: filepath.Join(dir, "fleet"), https: lay(t), mqtt: lay(t)}
	printed(t, c.program, "init", "--data", c.dir, "--name", "127.0.0.1")
	return c
}

// lay lays a cable until the test's end.
func lay(t testing.TB) *cable.Cable {
	t.Helper()
	c, err := cable.New("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

// begin starts the service and doesn't wait for it.
func (c *central) begin() {
	c.t.Helper()
	args := []string{"serve", "--data", c.dir, "--https", "127.0.0.1:0", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0",
		"--mqtt-public", ":" + strconv.Itoa(c.mqtt.Port())}
	if c.mosquitto != nil {
		args = append(args, "--broker", c.mosquitto.address)
	}
	c.out = &output{}
	c.process = launch(c.t, c.out, c.ahead, nil, c.program, args...)
}

// addresses are what serve prints; the last one isn't there with another broker.
var addresses = regexp.MustCompile(`open https://(\S+)\nopen http://(\S+) .*\n(?:devices send to (\S+)\n)?`)

// serve starts the service and returns when it answers.
func (c *central) serve() {
	c.t.Helper()
	c.begin()
	c.reach()
}

// reach leads the cables to the service once it has said where it is.
func (c *central) reach() {
	c.t.Helper()
	eventually(c.t, "the fleet's addresses", func() bool {
		if c.process.over() {
			c.t.Fatalf("the fleet ended: %v\n%s", c.process.err, tail(c.process.stderr.String()))
		}
		at := addresses.FindStringSubmatch(c.out.all())
		if at == nil || at[3] == "" && c.mosquitto == nil {
			return false
		}
		c.page, c.broker = at[2], at[3]
		if c.mosquitto != nil {
			c.broker = c.mosquitto.address
		}
		c.https.To(at[1])
		c.mqtt.To(c.broker)
		return true
	})
}

// enrol makes the data directory a device's and gives its id.
func (c *central) enrol(data string) string {
	c.t.Helper()
	id, err := identity.Enroll(c.t.Context(), identity.Config{Dir: data, Fleet: "https://" + c.https.Addr(), Token: c.enrolToken()})
	if err != nil {
		c.t.Fatal(err)
	}
	return id.Device()
}

func (c *central) enrolToken() string {
	c.t.Helper()
	return c.command("token", "--group", "line-4")
}

// command runs one of the fleet's commands, by its clock, and gives what it
// prints.
func (c *central) command(args ...string) string {
	c.t.Helper()
	out := &output{}
	p := launch(c.t, out, c.ahead, nil, c.program, append(args, "--data", c.dir)...)
	p.ends(patience)
	return strings.TrimSpace(out.all())
}

// ask gives what REST answers, with status 0 for no answer.
func (c *central) ask(path string) (status int, text string) {
	c.t.Helper()
	if c.user == "" {
		c.user = c.command("user", "token", "admin", "--for", "test")
	}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.page+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.user)
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Do(r)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(answer.Body); err != nil {
		return 0, ""
	}
	return answer.StatusCode, b.String()
}

// warns reports whether the fleet itself warns of code now.
func (c *central) warns(code string) bool {
	_, text := c.ask("/v1/health")
	return strings.Contains(text, `"`+code+`"`)
}

// presence is how the fleet shows a device.
func (c *central) presence(device string) string {
	var d struct{ Presence string }
	_, text := c.ask("/v1/devices/" + device)
	_ = json.Unmarshal([]byte(text), &d) // no answer has none
	return d.Presence
}

// mosquitto is Debian's, configured by the fleet's command.
type mosquitto struct {
	t       testing.TB
	path    string
	conf    string
	address string
	process *process
}

func newMosquitto(t testing.TB, c *central) *mosquitto {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("left out: Mosquitto isn't here (make setup): ", err)
	}
	m := &mosquitto{t: t, path: path, address: lowAddress(t)}
	dir := t.TempDir()
	printed(t, c.program, "mosquitto", "--data", c.dir, "--out", dir, "--listen", m.address)
	m.conf = filepath.Join(dir, "mosquitto.conf")
	if os.Geteuid() == 0 { // else it becomes a user who can't read the key
		f, err := os.OpenFile(m.conf, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = fmt.Fprintln(f, "user root")
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	m.start()
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.process = start(m.t, m.path, "-c", m.conf)
	eventually(m.t, "Mosquitto's answer", func() bool {
		if m.process.over() {
			m.t.Fatalf("Mosquitto ended: %v\n%s", m.process.err, tail(m.process.stderr.String()))
		}
		conn, err := net.Dial("tcp", m.address)
		return err == nil && conn.Close() == nil
	})
}

// lowAddress is a free address whose port no connection gets by itself, so
// that it stays free for a program that is killed and started again.
func lowAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(10000))))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// deviceOf is who an enrolled data directory is.
func deviceOf(t testing.TB, data string) string {
	t.Helper()
	id, err := identity.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	return id.Device()
}
