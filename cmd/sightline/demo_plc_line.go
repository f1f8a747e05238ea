package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"slices"
	"sync"
	"time"

	"github.com/simonvetter/modbus"
)

const (
	scanEvery  = 10 * time.Millisecond // the controller's cycle
	lineEvery  = 4 * time.Millisecond  // how often the belt's place is looked at
	doorWait   = 300 * time.Millisecond
	redialWait = 100 * time.Millisecond
)

// beltStop is one time that the controller stopped the belt.
type beltStop struct {
	At      float64 `json:"at_seconds"` // since the belt's first start
	Why     string  `json:"why"`
	Kill    int     `json:"kill"`          // the kill behind it, from 1; 0: none
	AfterMS float64 `json:"after_kill_ms"` // from the kill until the motor was off; 0 without a kill
	Travel  float64 `json:"travel_px"`     // of the belt, from the kill (without one: from the stop) until it stood
	MM      float64 `json:"travel_mm"`     // the same, for a part of 42 mm
	OnWay   int     `json:"on_way"`        // parts between light barrier and gate when it was stopped
	Without int     `json:"without"`       // of them without a result at the next start: rejected

	from float64 // ms of the belt
	open bool    // it hasn't stood yet
}

// plcLine is the belt with its light barrier, its controller and its gate.
type plcLine struct {
	belt *conveyor
	say  func(format string, args ...any)

	mu      sync.Mutex // protects all below
	program *plcProgram
	gate    rejectGate
	next    float64 // where the belt is when the next part breaks the light barrier, ms
	count   int     // parts that did
	began   time.Time
	starts  int
	stops   []beltStop
	kills   int
	killed  time.Time // the last; zero once the belt was stopped for it
	from    float64   // ms of the belt at that moment
}

func newLine(belt *conveyor, p *plcProgram, say func(string, ...any)) *plcLine {
	return &plcLine{belt: belt, program: p, say: say, next: belt.barrier(0)}
}

// run moves the belt until ctx ends.
func (l *plcLine) run(ctx context.Context) {
	tick := time.NewTicker(lineEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.step(time.Now())
		}
	}
}

// step tells the controller what passed its light barrier and its gate.
func (l *plcLine) step(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, stands := l.belt.move(now)
	was := l.program.run
	for at >= l.next {
		l.program.arrive(now, l.count)
		l.count++
		l.next = l.belt.barrier(l.count)
	}
	for len(l.program.way) > 0 && at >= l.belt.gate(l.program.way[0].n) {
		l.program.leave(now, &l.gate)
	}
	l.program.watch(now)
	l.switched(now, at, was)
	if n := len(l.stops); n > 0 && l.stops[n-1].open && stands {
		l.stood(&l.stops[n-1], at)
	}
}

// switched hands the motor's switch on and keeps account of stops. The caller holds mu.
func (l *plcLine) switched(now time.Time, at float64, was bool) {
	on := l.program.run
	l.belt.motor(now, on)
	switch {
	case on && !was:
		if l.starts++; l.starts == 1 {
			l.began = now
		} else if n := len(l.stops); n > 0 {
			for _, p := range l.program.way {
				if p.lost != "" {
					l.stops[n-1].Without++
				}
			}
		}
		l.tell(now, "the belt runs: the agent is online and ready")
	case was && !on && !l.program.ending:
		s := beltStop{At: now.Sub(l.began).Seconds(), Why: l.program.why, OnWay: len(l.program.way), from: at, open: true}
		if !l.killed.IsZero() {
			s.Kill, s.AfterMS, s.from = l.kills, float64(now.Sub(l.killed))/1e6, l.from
			l.killed = time.Time{}
		}
		l.stops = append(l.stops, s)
	}
}

func (l *plcLine) stood(s *beltStop, at float64) {
	s.open = false
	s.Travel = beltPx(at - s.from)
	s.MM = s.Travel / pxPerMM
	after := ""
	if s.Kill > 0 {
		after = fmt.Sprintf(" %.0f ms after the kill, and stands %.0f px (%.0f mm) on", s.AfterMS, s.Travel, s.MM)
	}
	l.say("%6.1f s  the belt stops%s: %s", s.At, after, s.Why)
}

func (l *plcLine) tell(now time.Time, text string) {
	l.say("%6.1f s  %s", now.Sub(l.began).Seconds(), text)
}

// scan is one cycle of the controller; in is nil without a connection.
func (l *plcLine) scan(in *doorSays) [doorOutputs]uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	was := l.program.run
	l.program.scan(now, in)
	at, _ := l.belt.move(now)
	l.switched(now, at, was)
	return l.program.outputs()
}

// strike notes a kill that follows, false if the belt stands.
func (l *plcLine) strike(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.program.run {
		return false
	}
	now := time.Now()
	l.kills++
	l.killed = now
	l.from, _ = l.belt.move(now)
	l.tell(now, text)
	return true
}

func (l *plcLine) running() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.program.run
}

// end stops the belt for good.
func (l *plcLine) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.program.ending = true
	l.program.halt(now, "the end")
	l.belt.motor(now, false)
}

// settled tells whether no result is awaited any more.
func (l *plcLine) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.program.open(time.Now())
}

// inspecting tells whether a trigger was accepted and has no result yet.
func (l *plcLine) inspecting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.program.way, func(p *onBelt) bool { return p.accepted && !p.answered && p.lost == "" })
}

// talk is the controller's Modbus client: it reads all inputs, lets the program scan
// them and writes its outputs, again and again until ctx ends.
func (l *plcLine) talk(ctx context.Context, address string) error {
	client, err := modbus.NewClient(&modbus.ClientConfiguration{
		URL: "tcp://" + address, Timeout: doorWait, Logger: log.New(io.Discard, "", 0),
	})
	if err != nil {
		return fmt.Errorf("make the controller's Modbus client: %w", err)
	}
	for ctx.Err() == nil {
		if client.Open() == nil { // else the agent isn't there, which the program sees
			l.exchange(ctx, client)
			_ = client.Close() // it is made anew
		}
		l.scan(nil)
		select {
		case <-ctx.Done():
		case <-time.After(redialWait):
		}
	}
	return nil
}

// exchange goes on until the connection fails.
func (l *plcLine) exchange(ctx context.Context, client *modbus.ModbusClient) {
	var written [doorOutputs]uint16
	fresh := true
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		r, err := client.ReadRegisters(0, doorInputs, modbus.INPUT_REGISTER)
		if err != nil {
			return
		}
		if out := l.scan(readDoor(r)); fresh || out != written {
			if client.WriteRegisters(0, out[:]) != nil {
				return
			}
			written, fresh = out, false
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
