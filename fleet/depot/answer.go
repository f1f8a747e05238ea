package depot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Bounds of what devices ask for.
const (
	maxGet       = 1 << 10 // bytes of a Get
	maxWanted    = 8       // bytes of its bits
	maxPieces    = 8       // that one Get is answered with
	maxAsked     = 16      // Gets of one device that wait
	maxAskedAll  = 1 << 13
	answerers    = 3
	maxFileBytes = 1 << 40 // so that an index times PieceSize can't overflow
)

// Answer serves a Get of a device: the wanted pieces are sent as Blocks, or a
// Block says why not. It returns at once; send is called by Run's own
// goroutines, one at a time for each device, and may hold them up; the data is
// the next Block's once it has returned. Devices
// take turns. What has no room is dropped, and the device told so once.
func (d *Depot) Answer(device string, body []byte, send func(*wire.Block)) {
	a := ask{send: send}
	get := new(wire.Get)
	if len(body) > maxGet {
		a.fault = fmt.Sprintf("a request has %d bytes, at most %d will do", len(body), maxGet)
	} else if err := wire.Unmarshal(body, get); err != nil {
		a.fault = err.Error()
	}
	a.get = get
	d.asks.put(device, a)
}

// ask is a Get that waits.
type ask struct {
	get   *wire.Get
	fault string // why it can't be understood; "" otherwise
	busy  bool   // others had no room behind it
	send  func(*wire.Block)
}

// asks are the Gets of all devices. It never blocks.
type asks struct {
	ready chan struct{} // a token for each device in turns

	mu    sync.Mutex // protects what follows
	of    map[string][]ask
	turns []string // devices that nobody serves now
	n     int
}

func newAsks() *asks {
	return &asks{ready: make(chan struct{}, maxAskedAll), of: map[string][]ask{}}
}

func (q *asks) put(device string, a ask) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, there := q.of[device]
	if len(waiting) >= maxAsked {
		waiting[len(waiting)-1].busy = true
		return
	}
	if q.n >= maxAskedAll {
		return
	}
	q.n++
	q.of[device] = append(waiting, a)
	if !there {
		q.turnLocked(device)
	}
}

func (q *asks) turnLocked(device string) {
	q.turns = append(q.turns, device)
	q.ready <- struct{}{} // it has room: there are no more devices than Gets
}

// next is the Get of the device whose turn it is; done must be called after it.
func (q *asks) next() (device string, a ask) {
	q.mu.Lock()
	defer q.mu.Unlock()
	device, q.turns = q.turns[0], q.turns[1:]
	a = q.of[device][0]
	q.of[device] = q.of[device][1:]
	q.n--
	return device, a
}

// done lets the device have another turn.
func (q *asks) done(device string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.of[device]) == 0 {
		delete(q.of, device)
		return
	}
	q.turnLocked(device)
}

// answer serves Gets until ctx ends.
func (d *Depot) answer(ctx context.Context) error {
	buf := make([]byte, PieceSize)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.asks.ready:
		}
		device, a := d.asks.next()
		d.serve(device, a, buf)
		d.asks.done(device)
	}
}

func (d *Depot) serve(device string, a ask, buf []byte) {
	tid := a.get.GetTid()
	fault := func(f wire.Block_Fault, text string) {
		a.send(&wire.Block{Tid: tid, Index: a.get.GetFirst(), Fault: f, Text: text})
	}
	if a.fault == "" {
		a.fault = check(a.get)
	}
	if a.fault != "" {
		fault(wire.Block_FAULT_REQUEST, a.fault)
		return
	}
	f, err := d.asked(a.get)
	if err == nil {
		err = pieces(f, a.get, buf, a.send)
		f.close()
	}
	switch {
	case errors.Is(err, errRange):
		fault(wire.Block_FAULT_REQUEST, err.Error())
	case errors.Is(err, ErrMissing):
		fault(wire.Block_FAULT_MISSING, "the fleet has no such file")
	case err != nil:
		d.log.Warn("read for a device", "device", device, "err", err)
		fault(wire.Block_FAULT_BUSY, "the fleet can't read the file now, its log says why")
	}
	if a.busy {
		fault(wire.Block_FAULT_BUSY, fmt.Sprintf("%d requests wait already", maxAsked))
	}
}

// check says what is wrong with a Get, "" if nothing is.
func check(g *wire.Get) string {
	switch {
	case g.GetPiece() != PieceSize:
		return fmt.Sprintf("pieces of %d bytes are wanted, and have %d", g.GetPiece(), PieceSize)
	case len(g.GetWanted()) > maxWanted:
		return fmt.Sprintf("%d bytes say what is wanted, at most %d may", len(g.GetWanted()), maxWanted)
	case len(g.GetTarget()) != 32 && len(g.GetPieces()) != 32 && g.GetMetadata() == "":
		return "no file is named"
	case g.GetMetadata() != "" && !metadataName.MatchString(g.GetMetadata()):
		return "no file of metadata has such a name"
	}
	for _, b := range g.GetWanted() {
		if b != 0 {
			return ""
		}
	}
	return "no piece is wanted"
}

// reading is a file that a Get asks for.
type reading struct {
	*handle
	close func()
}

func (d *Depot) asked(g *wire.Get) (reading, error) {
	var path string
	switch {
	case g.GetMetadata() != "":
		// These are small and few, and one of them is replaced.
		h, err := openHandle(d.top.in(metadataFolder).file(g.GetMetadata()))
		if err != nil {
			return reading{}, err
		}
		return reading{h, func() { _ = h.file.Close() }}, nil
	case len(g.GetTarget()) == 32:
		path = d.bundlePath(hex.EncodeToString(g.GetTarget()))
	default:
		path = d.top.in(piecesFolder).file(hex.EncodeToString(g.GetPieces()))
	}
	h, err := d.files.take(path)
	if err != nil {
		return reading{}, err
	}
	return reading{h, func() { d.files.give(h) }}, nil
}

var errRange = errors.New("the file has no such piece")

// pieces sends the wanted pieces that there are, the first maxPieces of them,
// by way of buf.
func pieces(f reading, g *wire.Get, buf []byte, send func(*wire.Block)) error {
	if f.size > maxFileBytes {
		return fmt.Errorf("%s has %d bytes", f.path, f.size)
	}
	count := max(1, (f.size+PieceSize-1)/PieceSize)
	sent := 0
	for i, b := range g.GetWanted() {
		for ; b != 0 && sent < maxPieces; b &= b - 1 {
			index := int64(g.GetFirst()) + int64(8*i+bits.TrailingZeros8(b))
			if index >= count {
				break
			}
			data, err := f.piece(index, buf)
			if err != nil {
				return err
			}
			send(&wire.Block{Tid: g.GetTid(), Index: uint32(index), Size: uint64(f.size), Data: data})
			sent++
		}
	}
	if sent == 0 {
		return fmt.Errorf("%w: it has %d", errRange, count)
	}
	return nil
}
