package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/uplink"
)

// crowdRecords is how many records each device of a crowd makes at once.
const crowdRecords = 5

// crowded is what a crowd prints.
type crowded struct {
	Located int     // devices that the fleet has answered
	Drained int     // and has everything of
	Since   []int64 // when each one's connection was begun, Unix nanoseconds
}

// runCrowd is many devices in one program. At each SIGUSR1 all make records.
func runCrowd(ctx context.Context, s *settings) error {
	more := make(chan os.Signal, 1)
	signal.Notify(more, syscall.SIGUSR1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	var all []*uplink.Uplink
	var journals []*journal.Journal
	for _, dir := range s.Devices {
		j, _, err := journal.Open(dir)
		if err != nil {
			return err
		}
		id, err := identity.Open(dir)
		if err != nil {
			return errors.Join(err, j.Close())
		}
		up := newUplink(id, j, s.Spread)
		journals, all = append(journals, j), append(all, up)
		g.Go(func() error { return errors.Join(j.Run(ctx), j.Close()) })
		g.Go(func() error { return up.Run(ctx) })
	}
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-more:
			}
			for _, j := range journals {
				for last, n := j.Stats().Last, uint64(1); n <= crowdRecords; n++ {
					s.Make.append(j, last+n)
				}
			}
		}
	})
	g.Go(func() error { return tellCrowd(ctx, all) })
	return g.Wait()
}

// tellCrowd prints how they are doing when that changes.
func tellCrowd(ctx context.Context, all []*uplink.Uplink) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	parent := os.Getppid()
	before := ""
	for {
		var now crowded
		for _, up := range all {
			s := up.Stats()
			if !s.Located {
				continue
			}
			now.Located++
			now.Since = append(now.Since, s.Since.UnixNano())
			if s.Backlog == 0 {
				now.Drained++
			}
		}
		line, err := json.Marshal(now)
		if err != nil {
			return err
		}
		if text := string(line); text != before {
			fmt.Println(text)
			before = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if os.Getppid() != parent {
			return errors.New("the test has gone")
		}
	}
}

// crowd are devices in one program.
type crowd struct {
	t       *testing.T
	ids     []string
	set     settings
	out     *output
	process *process
}

// until waits for the crowd to be so.
func (w *crowd) until(what string, holds func(crowded) bool) (now crowded) {
	w.t.Helper()
	eventuallyWithin(w.t, time.Minute, what, func() bool {
		if w.process.over() {
			w.t.Fatalf("the crowd ended: %v\n%s", w.process.err, tail(w.process.stderr.String()))
		}
		now = crowded{}
		_ = json.Unmarshal([]byte(w.out.line()), &now) // nothing yet
		return holds(now)
	})
	return now
}

// TestFleetsCrowd: the broker is killed and comes back. The devices that lost
// it come back too, not all at once.
func TestFleetsCrowd(t *testing.T) {
	size, limit, brokers := 40, 4.0, []string{"embedded"} // so few come unevenly by chance
	if full() {
		size, limit, brokers = 500, 2.0, []string{"embedded", "Mosquitto"}
	}
	for _, b := range brokers {
		t.Run(b, func(t *testing.T) {
			t.Parallel()
			c := newCentral(t, b == "Mosquitto")
			w := newCrowd(t, c, size)
			everybody := func(now crowded) bool { return now.Located == size && now.Drained == size }
			w.until("all devices", everybody)
			// Once the broker is back at once, once it is away for longer than
			// devices wait at first.
			for round, away := range []time.Duration{0, 8 * time.Second}[:1+min(1, size/500)] {
				dead, back := c.process, c.serve
				if c.mosquitto != nil {
					dead, back = c.mosquitto.process, c.mosquitto.start
				}
				dead.kill()
				w.until("nobody", func(now crowded) bool { return now.Located == 0 })
				if err := w.process.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
					t.Fatal(err)
				}
				<-time.After(away)
				back()
				now := w.until("all devices again", everybody)
				peak, mean, seconds := evenness(now.Since)
				t.Logf("away for %v: %d devices came back within %.1f s; of whole seconds the busiest had %d, the mean %.1f: %.2f times",
					away, size, seconds, peak, mean, float64(peak)/mean)
				if float64(peak) > limit*mean || seconds < 2.5 {
					t.Errorf("the peak is more than %v times the mean, or all came within %.1f s", limit, seconds)
				}
				for _, id := range w.ids {
					for _, h := range c.has(id) {
						h.audit(t, w.set.Make, 1, uint64(crowdRecords*(round+1)))
					}
				}
			}
			w.process.finish()
		})
	}
}

// newCrowd enrols so many devices and starts them.
func newCrowd(t *testing.T, c *central, size int) *crowd {
	t.Helper()
	w := &crowd{t: t, out: &output{}, set: settings{Make: recipe{Name: "crowd"}}}
	w.set.Devices, w.ids = c.enrolCrowd(size)
	text, err := json.Marshal(w.set)
	if err != nil {
		t.Fatal(err)
	}
	w.process = launch(t, w.out, 0, []string{deviceSettings + "=" + string(text)}, os.Args[0])
	return w
}

// evenness looks at the time from the first connection to the last in pieces of
// a second from the first on, without the last piece, which isn't whole.
func evenness(at []int64) (peak int, mean, seconds float64) {
	first, last := slices.Min(at), slices.Max(at)
	whole := int((last - first) / int64(time.Second))
	bins := make([]int, whole+1)
	for _, t := range at {
		bins[(t-first)/int64(time.Second)]++
	}
	n := 0
	for _, b := range bins[:whole] {
		n += b
		peak = max(peak, b)
	}
	return peak, float64(n) / float64(whole), float64(last-first) / float64(time.Second)
}

// enrolCrowd enrols so many devices, in memory where that can be.
func (c *central) enrolCrowd(size int) (dirs, ids []string) {
	c.t.Helper()
	base := c.t.TempDir()
	if unix.Mount("tmpfs", base, "tmpfs", 0, "") == nil {
		c.t.Cleanup(func() {
			if err := unix.Unmount(base, 0); err != nil {
				c.t.Error(err)
			}
		})
	}
	st, err := fleet.OpenStore(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	defer st.Close()
	ca, err := fleet.OpenCA(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	service := enroll.NewService(ca, st, enroll.Config{})
	for i := range size {
		token, err := service.Token(c.t.Context(), "crowd", 0)
		if err != nil {
			c.t.Fatal(err)
		}
		dir := filepath.Join(base, fmt.Sprint(i))
		id, err := identity.Enroll(c.t.Context(), identity.Config{Dir: dir, Fleet: "https://" + c.https.Addr(), Token: token.String()})
		if err != nil {
			c.t.Fatal(err)
		}
		dirs, ids = append(dirs, dir), append(ids, id.Device())
	}
	return dirs, ids
}
