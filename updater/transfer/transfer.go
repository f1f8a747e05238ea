// Package transfer brings signed bundles and their metadata from the fleet to a
// device, piece by piece: over the connection that its results go by, or by
// HTTP. The device asks, for so much at a time that results don't wait behind
// it; each piece is checked against a signed hash before it is written, and
// what has been written is checked again when a transfer goes on after a
// restart. docs/sync.md tells how it goes.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Errors that callers tell apart. They come wrapped, with the fleet's words.
var (
	ErrMissing = errors.New("the fleet has no such file")
	ErrWrong   = errors.New("wrong pieces") // what came again and again isn't what is signed
	ErrRefused = errors.New("the fleet doesn't take the request")
)

// NoRoom is the error of a transfer for which the disk has no room. It is told
// before anything is fetched, or where the disk fills up all the same; Need is
// what remains to be written then.
type NoRoom struct{ Need, Have int64 } // bytes

func (e *NoRoom) Error() string {
	return fmt.Sprintf("no room on the disk: %d MB are needed, %d MB are free", (e.Need+1e6-1)/1e6, e.Have/1e6)
}

// Link is a connection to the fleet, as an uplink has one.
type Link interface {
	// Say sends a message, or reports that it can't now. It never blocks.
	Say(kind wire.Kind, qos byte, payload []byte) bool
	// Session names the connection, 0 for none; what was asked on another one
	// won't be answered. changed is closed when it is no longer so.
	Session() (id uint64, changed <-chan struct{})
}

// Config says where transfers are kept.
type Config struct {
	Dir string // of unfinished transfers and the bundles that they became; made if need be
	Log *slog.Logger
}

// Puller fetches. Use New, then Over or OverHTTP.
type Puller struct {
	cfg Config

	mu       sync.Mutex // protects what follows
	link     Link
	web      *web
	turned   chan struct{} // closed when link or web is set
	waiting  map[uint32]chan []byte
	fetching map[[32]byte]chan struct{} // closed when that bundle's Fetch returns
	stats    Stats
}

// Stats are figures since New.
type Stats struct {
	Bytes   uint64 // of files, that were taken
	Again   uint64 // of pieces that came and weren't wanted any more
	Wrong   uint64 // pieces that weren't what is signed
	Dropped uint64 // messages that nobody waited for
	Asked   uint64 // pieces asked for, all times counted
}

// New makes a puller that has no connection yet.
func New(cfg Config) *Puller {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Puller{
		cfg: cfg, turned: make(chan struct{}),
		waiting: map[uint32]chan []byte{}, fetching: map[[32]byte]chan struct{}{},
	}
}

// Over says which connection to ask on. Until then what is to be fetched waits.
func (p *Puller) Over(l Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = l
	p.turnLocked()
}

// OverHTTP lets Fetch get bundles from base/v1/updates/targets/<SHA-256> instead, and
// the lists of their pieces from base/v1/updates/pieces/<SHA-256>.
func (p *Puller) OverHTTP(base string, client *http.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.web = &web{p: p, base: strings.TrimRight(base, "/"), client: client}
	p.turnLocked()
}

func (p *Puller) turnLocked() {
	close(p.turned)
	p.turned = make(chan struct{})
}

// session is the connection to ask on; changed is closed when it is another one.
func (p *Puller) session() (l Link, id uint64, changed <-chan struct{}) {
	p.mu.Lock()
	l, changed = p.link, p.turned
	p.mu.Unlock()
	if l != nil {
		id, changed = l.Session()
	}
	return l, id, changed
}

// supplier waits until there is a way to get bundles.
func (p *Puller) supplier(ctx context.Context) (supplier, error) {
	for {
		p.mu.Lock()
		web, link, turned := p.web, p.link, p.turned
		p.mu.Unlock()
		switch {
		case web != nil:
			return web, nil
		case link != nil:
			return asking{p}, nil
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// queued is how many messages wait for one request. Four pieces are under way
// at most; what finds no room is asked for again.
const queued = 32

// Heard takes a message of wire.KindBlock and never blocks. It keeps payload.
func (p *Puller) Heard(payload []byte) {
	tid, ok := tidOf(payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.waiting[tid]
	if !ok || in == nil {
		p.stats.Dropped++
		return
	}
	select {
	case in <- payload:
	default:
		p.stats.Dropped++
	}
}

// tidOf finds a Block's tid without copying its data.
func tidOf(b []byte) (tid uint32, ok bool) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, false
		}
		b = b[n:]
		if field == 1 && kind == protowire.Fixed32Type {
			tid, n = protowire.ConsumeFixed32(b)
			return tid, n > 0
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return 0, false
		}
		b = b[n:]
	}
	return 0, false
}

// listen gives messages with a tid of its own, until done is called.
func (p *Puller) listen() (tid uint32, in <-chan []byte, done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tid == 0 || p.waiting[tid] != nil {
		tid = rand.Uint32()
	}
	c := make(chan []byte, queued)
	p.waiting[tid] = c
	return tid, c, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiting, tid)
	}
}

func (p *Puller) count(f func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// Stats are the current figures.
func (p *Puller) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}
