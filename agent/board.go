package agent

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/board"
	"github.com/sightline-edge/sightline/sync/wire"
)

// boardEvery is how often the hardware is asked how it is.
const boardEvery = 5 * time.Second

// sampler keeps the newest reading of the board.
type sampler struct {
	reading sync.Mutex // held while the board is read, one at a time
	mu      sync.Mutex // protects last
	last    *board.Reading
}

// readBoard reads the board every boardEvery until the context ends. It stands
// beside inspection: a sensor that is slow to answer holds nothing else up.
func (a *Agent) readBoard(ctx context.Context) error {
	if a.cfg.Board == nil {
		return nil
	}
	tick := time.NewTicker(boardEvery)
	defer tick.Stop()
	for {
		a.sample()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *Agent) sample() {
	a.board.reading.Lock()
	defer a.board.reading.Unlock()
	r := a.cfg.Board.Read()
	a.board.mu.Lock()
	defer a.board.mu.Unlock()
	a.board.last = &r
}

// Reading is the newest reading of the board, nil before the first and where
// Config.Board isn't set. It is nobody's to change.
func (a *Agent) Reading() *board.Reading {
	a.board.mu.Lock()
	defer a.board.mu.Unlock()
	return a.board.last
}

// Board is the newest reading as the fleet is told it, nil where there is none.
func (a *Agent) Board() *wire.Board {
	r := a.Reading()
	if r == nil {
		return nil
	}
	out := &wire.Board{
		Load: narrow(r.Load), Cpu: narrow(r.CPU), MemoryTotal: r.MemoryTotal, MemoryAvailable: r.MemoryAvailable,
		DiskTotal: r.DiskTotal, DiskFree: r.DiskFree,
	}
	for _, t := range r.Temperatures {
		out.Temperatures = append(out.Temperatures, &wire.Reading{Name: t.Name, Value: float32(t.Celsius)})
	}
	for _, g := range r.GPUs {
		out.Gpus = append(out.Gpus, &wire.GPU{
			Name: g.Name, Load: narrow(g.Load), Temperature: narrow(g.Celsius), MemoryTotal: g.MemoryTotal,
			MemoryUsed: g.MemoryUsed, Power: narrow(g.Power), Clock: g.Clock,
		})
	}
	return out
}

// Inventory is what the device is made of. It reads the board if nobody has
// yet, so it can be asked before Run.
func (a *Agent) Inventory() *wire.Inventory {
	out := &wire.Inventory{Version: a.cfg.Version, Arch: runtime.GOARCH, Cores: uint32(runtime.NumCPU())}
	if a.cfg.Board == nil {
		return out
	}
	if a.Reading() == nil {
		a.sample()
	}
	r := a.Reading()
	id := r.Identity
	out.Os, out.Kernel, out.Model, out.Serial = id.OS, id.Kernel, id.Model, id.Serial
	out.Jetpack, out.Hostname = id.JetPack, id.Hostname
	if id.Cores > 0 {
		out.Cores = uint32(id.Cores)
	}
	if r.MemoryTotal != nil {
		out.MemoryBytes = *r.MemoryTotal
	}
	for _, g := range r.GPUs {
		out.Gpus = append(out.Gpus, g.Name)
	}
	return out
}

func narrow(v *float64) *float32 {
	if v == nil {
		return nil
	}
	f := float32(*v)
	return &f
}
