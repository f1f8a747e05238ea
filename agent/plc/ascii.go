package plc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of the ASCII door.
const (
	maxLine      = 256 // bytes of a line without its end
	maxID        = 64  // bytes of a trigger's or a part's name
	maxReason    = 200 // bytes of a reason
	recipeWithin = 30 * time.Second
)

// ASCIIConfig sets up a door that speaks lines of text.
type ASCIIConfig struct {
	Access
	Heartbeat time.Duration // interval of beats. 0: 500ms
	Push      bool          // send a line H at each beat, without being asked
}

// ASCII is the door for controllers that send lines of text over TCP.
type ASCII struct {
	line
	push     bool
	entrance entrance
	due      chan struct{} // a result may be there
	beaten   chan struct{} // a line H is to be pushed
}

// Complaints of the ASCII door. The numbers are stable.
const (
	badCommand    = 10
	badLength     = 11
	badCharacter  = 12
	badArguments  = 13
	badName       = 14
	missedTrigger = 20
	badRecipe     = 30
	recipeStays   = 31
	placeTaken    = 50
)

var complaints = []struct {
	code    int
	text    string
	meaning string
}{
	{badCommand, "unknown command", "none of T S P H ?"},
	{badLength, "line too long", "more than 256 bytes before its end; all of it was ignored"},
	{badCharacter, "not printable ASCII", "a byte outside 0x20 to 0x7E"},
	{badArguments, "wrong number of words", "the command wants more or fewer"},
	{badName, "name too long", "a trigger or part ID has more than 64 bytes"},
	{missedTrigger, "missed", "behind it the trigger's ID and why; the part was not inspected and must be rejected"},
	{badRecipe, "no such recipe", "the active one stays"},
	{recipeStays, "recipe not changed", "behind it why; the active one stays"},
	{placeTaken, "busy", "another controller has the place; the connection is closed"},
}

// NewASCII checks c. Run opens the door.
func NewASCII(c ASCIIConfig, s Station, log *slog.Logger) (*ASCII, error) {
	ad, err := c.check()
	heartbeat, wrong := checkHeartbeat(c.Heartbeat)
	if err = errors.Join(err, wrong); err != nil {
		return nil, fmt.Errorf("ascii door: %w", err)
	}
	d := &ASCII{push: c.Push, due: make(chan struct{}, 1), beaten: make(chan struct{}, 1)}
	d.line.open(s, log, heartbeat)
	d.changed = func() { signal(d.due) }
	d.entrance = entrance{admission: ad, log: log, busy: fmt.Sprintf("E %d busy\r\n", placeTaken), serve: d.serve}
	return d, nil
}

// Run keeps the door open until ctx ends. It gives nil: what goes wrong is told
// in Stats and tried again.
func (d *ASCII) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	d.line.run(ctx, g, func() {
		if d.push {
			signal(d.beaten)
		}
	})
	g.Go(func() error { d.entrance.run(ctx); return nil })
	return g.Wait()
}

// Stats is what the door has seen.
func (d *ASCII) Stats() Stats {
	s := d.stats()
	d.entrance.fill(&s)
	return s
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// conversation is one connection's way out: answers come in the order of their
// triggers, all else at once.
type conversation struct {
	*client
	mu sync.Mutex
}

// say writes one line, and tells whether TCP took it.
func (c *conversation) say(format string, args ...any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(writePatience)) // it fails only on what is closed
	if _, err := fmt.Fprintf(c.client, format+"\r\n", args...); err != nil {
		_ = c.Close() // half a line may be out: this conversation is over
		return false
	}
	return true
}

func (c *conversation) complain(code int, more string) {
	for _, x := range complaints {
		if x.code == code {
			c.say("E %d %s", code, strings.TrimRight(x.text+" "+more, " "))
			return
		}
	}
}

// serve talks with one controller. Results of an earlier connection are not told
// on a later one: who asks again with the same ID gets the same answer.
func (d *ASCII) serve(ctx context.Context, cl *client) {
	c := &conversation{client: cl}
	done := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error { d.tell(c, done); return nil })
	d.listen(ctx, c)
	close(done)
	_ = g.Wait() // it gives no error
	d.mu.Lock()
	d.hs.forget()
	d.mu.Unlock()
}

// tell writes results as they become due, and beats.
func (d *ASCII) tell(c *conversation, done chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-d.beaten:
			n, _ := d.beat.state()
			c.say("H %d", n)
		case <-d.due:
			for d.tellOne(c) {
			}
		}
	}
}

// tellOne writes the result that is due. A client that can't be written to has
// been closed, and the result stays unacknowledged.
func (d *ASCII) tellOne(c *conversation) bool {
	d.mu.Lock()
	i := d.hs.shown
	d.mu.Unlock()
	if i == nil {
		return false
	}
	letter := "R"
	if i.answer.Repeated { // who didn't ask again on purpose must not take it for this part's
		letter = "A"
	}
	if !c.say("%s %s %s %s", letter, i.trigger.ID, i.answer.Verdict, readable(i.answer.Reason)) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hs.acknowledge(true)
	d.hs.acknowledge(false)
	return true
}

// readable makes a reason one line of printable ASCII.
func readable(reason string) string {
	if reason == "" {
		return "-"
	}
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, reason)
	return s[:min(len(s), maxReason)]
}

// listen reads lines until the connection ends. CR, LF or both end a line; empty
// ones say nothing.
func (d *ASCII) listen(ctx context.Context, c *conversation) {
	var (
		buf     = make([]byte, 2*maxLine)
		n       int
		tooLong bool
	)
	for {
		got, err := c.Read(buf[n:])
		n += got
		rest := buf[:n]
		for {
			end := bytes.IndexAny(rest, "\r\n")
			if end < 0 {
				break
			}
			if !tooLong && end <= maxLine {
				c.hears()
				d.obey(ctx, c, rest[:end])
			} else {
				d.garbled()
				c.complain(badLength, "")
			}
			tooLong = false
			rest = rest[end+1:]
		}
		if len(rest) > maxLine {
			tooLong, rest = true, nil
		}
		n = copy(buf, rest)
		if err != nil {
			if err != io.EOF && ctx.Err() == nil {
				d.log.Debug("the controller's connection ended", "peer", c.peer.String(), "err", err)
			}
			return
		}
	}
}

// obey answers one line.
func (d *ASCII) obey(ctx context.Context, c *conversation, text []byte) {
	if slices.ContainsFunc(text, func(b byte) bool { return b < ' ' || b > '~' }) {
		d.garbled()
		c.complain(badCharacter, "")
		return
	}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return
	}
	wrong := 0
	switch words[0] {
	case "T":
		wrong = d.trigger(c, words[1:])
	case "S":
		if wrong = exactly(0, words); wrong == 0 {
			d.status(c)
		}
	case "P":
		d.recipe(ctx, c, strings.TrimSpace(strings.TrimLeft(string(text), " ")[1:]))
	case "H":
		if wrong = exactly(0, words); wrong == 0 {
			if n, alive := d.beat.state(); alive {
				c.say("H %d", n)
			}
		}
	case "?":
		c.say("? T id [part] = inspect; S = status; P [name] = recipe; H = heartbeat")
	default:
		wrong = badCommand
	}
	if wrong != 0 {
		d.garbled()
		c.complain(wrong, "")
	}
}

func exactly(n int, words []string) int {
	if len(words)-1 != n {
		return badArguments
	}
	return 0
}

func (d *ASCII) trigger(c *conversation, names []string) (wrong int) {
	if len(names) < 1 || len(names) > 2 {
		return badArguments
	}
	t := Trigger{ID: names[0], At: time.Now()}
	if len(names) == 2 {
		t.Part = names[1]
	}
	if len(t.ID) > maxID || len(t.Part) > maxID {
		return badName
	}
	ok, why := d.ready()
	d.mu.Lock()
	i := d.hs.raise(t, ok)
	d.hs.lower()
	d.mu.Unlock()
	if i == nil {
		c.complain(missedTrigger, t.ID+" "+readable(why))
		return 0
	}
	d.begin(i)
	return 0
}

func (d *ASCII) status(c *conversation) {
	ok, why := d.ready()
	state := "READY"
	if !ok {
		state = "NOTREADY"
	}
	name, _ := d.station.Recipe()
	if ok || why == "" {
		why = "-"
	}
	s := d.stats()
	c.say("S %s %d %d %s %s", state, s.Waiting, s.Missed, readable(name), readable(why))
}

// recipe tells the active recipe, or makes another one the active one. Lines
// behind it wait until that is done, so a trigger never gets the old one.
func (d *ASCII) recipe(ctx context.Context, c *conversation, name string) {
	active, all := d.station.Recipe()
	if name == "" || name == active && active != "" {
		c.say("P %s", readable(active))
		return
	}
	if !slices.Contains(all, name) {
		c.complain(badRecipe, name)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recipeWithin)
	defer cancel()
	if err := d.station.SetRecipe(ctx, name); err != nil {
		c.complain(recipeStays, readable(err.Error()))
		return
	}
	c.say("P %s", name)
}
