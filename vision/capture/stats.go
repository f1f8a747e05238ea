package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// State says how a source is doing.
type State string

// The states of a source.
const (
	Connecting State = "connecting" // no frame yet
	Streaming  State = "streaming"
	Waiting    State = "waiting" // for a trigger, or for a file to come
	Silent     State = "silent"  // connected, but nothing comes
	Refused    State = "refused" // user or password are wrong; tried again seldom
	Failed     State = "failed"  // the last try failed; a camera is tried again
	Ended      State = "ended"   // the recording or folder is over, or Run was stopped
)

// Dropped counts frames that Next never gave, by the reason.
type Dropped struct {
	Overwritten uint64 // a newer frame came before this one was taken; of the feed that missed most
	NoSlot      uint64 // every slot was in use
	Late        uint64 // the decoder passed it over for a newer one
	Unreadable  uint64 // corrupt
	Incomplete  uint64 // parts of it were lost on the way
	Stale       uint64 // held back by the camera or the network, and old when it came
}

// Total is the sum over all reasons.
func (d Dropped) Total() uint64 {
	return d.Overwritten + d.NoSlot + d.Late + d.Unreadable + d.Incomplete + d.Stale
}

// Stats are the figures of a source since New.
type Stats struct {
	Captured uint64 // frames that the source gave, over all workers
	Dropped  Dropped
	Restarts uint64 // workers started after the first

	State     State
	LastError string    // why the last worker ended, or the last unreadable picture; redacted
	LastFault time.Time // when the source was last lost; zero if never
	Cut       string    // what a recording lacks at its end; empty if it is whole
	LastFrame time.Time
	Timing    vision.Timing // how well its time is known
	Memory    int64         // private bytes of the worker, as last looked at

	Rate          float64 // frames a second, measured over the last 32; 0 while nothing comes
	AnnouncedRate float64 // frames a second, as the source says; 0 if it doesn't
	Width, Height int     // of the last frame, pixels
	Codec         string
	Reader        string // the library that reads the source
}

// rateFrames is over how many frames the rate is measured.
const rateFrames = 32

// stats is what Camera keeps; Camera.mu protects it.
type stats struct {
	public  Stats
	totals  counts
	started uint64
	pid     int           // of the running worker, 0 if there is none
	ended   time.Duration // CPU of the workers that have ended
	recent  []moment      // the newest frames, at most rateFrames
	aged    uint64        // frames that reached this process too late
}

type moment struct {
	at  time.Time
	seq uint64
}

// Stats are the current figures.
func (c *Camera) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats.public
	t := c.stats.totals
	s.Captured = t.Captured
	s.Dropped = Dropped{NoSlot: t.NoRoom, Late: t.Late, Unreadable: t.Unreadable, Incomplete: t.Incomplete, Stale: t.Stale + c.stats.aged}
	for _, f := range c.feeds {
		s.Dropped.Overwritten = max(s.Dropped.Overwritten, f.stats.Overwritten)
	}
	if (s.State == Streaming || s.State == Waiting) && c.Live() && time.Since(c.stats.alive()) >= c.cfg.Silence {
		s.State = Silent
	}
	if r := c.stats.recent; len(r) > 1 && s.State == Streaming {
		first, last := r[0], r[len(r)-1]
		if d := last.at.Sub(first.at); d > 0 {
			s.Rate = float64(last.seq-first.seq) / d.Seconds()
		}
	}
	return s
}

// alive is when the source last showed life.
func (s *stats) alive() time.Time {
	if len(s.recent) == 0 {
		return s.public.LastFrame
	}
	return s.recent[len(s.recent)-1].at
}

// CPU is the processor time of all workers so far, the running one included.
func (c *Camera) CPU() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := c.stats.ended
	if c.stats.pid != 0 {
		total += processCPU(c.stats.pid)
	}
	return total
}

// ticks is USER_HZ, the unit of /proc's times on every Linux that Go runs on.
const ticks = 100

// processCPU reads user and system time of a process, 0 if it is gone.
func processCPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // the name may hold spaces
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(f[11]), 10, 64) // the kernel writes numbers
	system, _ := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(user+system) * time.Second / ticks
}

func (c *Camera) weigh(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.public.Memory = bytes
}

func (c *Camera) counted() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats.totals
}

func (c *Camera) count(t counts, told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if told {
		c.stats.totals = t
	}
}

// started notes the running session.
func (c *Camera) started(s *session) {
	pid := s.proc.Pid()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.reading = s, false
	if c.stats.started++; c.stats.started > 1 {
		c.stats.public.Restarts++
	}
	c.stats.pid = pid
	c.stats.recent = c.stats.recent[:0]
	if p := &c.stats.public; p.State != Failed && p.State != Refused { // a try to reach what is lost is no news
		p.State = Connecting
	}
}

func (c *Camera) stopped(cpu time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.reading = nil, false
	c.stats.pid = 0
	c.stats.ended += cpu
}

func (c *Camera) open(o opened) {
	c.log.Info("source is open", "reader", o.Reader, "codec", o.Codec, "width", o.Width, "height", o.Height, "rate", o.Rate)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = true
	p := &c.stats.public
	p.AnnouncedRate, p.Codec, p.Reader = o.Rate, o.Codec, o.Reader
	if o.Width > 0 {
		p.Width, p.Height = o.Width, o.Height
	}
}

func (c *Camera) took(f *vision.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.stats.public
	p.State, p.LastFrame, p.Width, p.Height, p.Timing = Streaming, f.Captured, f.Width, f.Height, f.Timing
	c.note(moment{f.Captured, f.Seq})
}

// inOrder keeps the times of a live camera's frames from going back: two clocks
// are read to find each, and pictures that the network held back come together.
func (c *Camera) inOrder(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if back := c.stats.public.LastFrame.Sub(at); c.Live() && back >= 0 && back < sameMoment {
		return c.stats.public.LastFrame.Add(time.Nanosecond)
	}
	return at
}

// sameMoment is by how much times go back that come of reading two clocks.
const sameMoment = 20 * time.Millisecond

// staleAge is from when a live picture is too old to be judged: the part that it
// shows is elsewhere.
const staleAge = 2 * time.Second

// stale counts a live picture that is too old.
func (c *Camera) stale(f *vision.Frame) bool {
	if !c.Live() || !c.Drops() || time.Since(f.Captured) <= staleAge {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.aged++
	return true
}

// alive notes that the camera gives frames although none gets through, or that
// there is nothing to give.
func (c *Camera) alive() {
	patient := c.bare().patient()
	c.mu.Lock()
	defer c.mu.Unlock()
	if patient {
		c.stats.public.State = Waiting
	}
	c.note(moment{time.Now(), c.stats.totals.Captured})
}

func (c *Camera) note(m moment) {
	r := append(c.stats.recent, m)
	if len(r) > rateFrames {
		r = append(r[:0], r[1:]...)
	}
	c.stats.recent = r
}

func (c *Camera) trouble(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.public.LastError = text
}

func (c *Camera) cut(text string) {
	if text == "" {
		return
	}
	c.log.Warn("recording is cut short", "reason", text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.public.Cut = text
}

func (c *Camera) failed(err error) {
	c.log.Warn("source lost, trying again", "reason", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.stats.public
	p.State, p.LastError, p.LastFault = Failed, err.Error(), time.Now()
	if errors.Is(err, errDenied) {
		p.State = Refused
	}
}

// redacting hides secrets in what workers print, before it is logged.
type redacting struct{ slog.Handler }

// Handle passes the record on with its texts redacted.
func (h redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, Redact(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if k := a.Value.Kind(); k == slog.KindString || k == slog.KindAny {
			a.Value = slog.StringValue(Redact(a.Value.String()))
		}
		clean.AddAttrs(a)
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs keeps the redaction.
func (h redacting) WithAttrs(as []slog.Attr) slog.Handler { return redacting{h.Handler.WithAttrs(as)} }

// WithGroup keeps the redaction.
func (h redacting) WithGroup(name string) slog.Handler { return redacting{h.Handler.WithGroup(name)} }
