package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// PieceSize is how many bytes are asked for at once, at most.
const PieceSize = 64 << 10

// Limits of a request.
const (
	mostWindow = 4 // pieces under way: 256 KiB, which delay a result by 130 ms on a link of 2 MB/s

	// The window grows while answers come sooner than quick, and shrinks when
	// they come later than late: acknowledgements of results wait behind them.
	quick = 500 * time.Millisecond
	late  = time.Second

	firstPatience = 5 * time.Second // before any answer told how long one takes
	leastPatience = time.Second
	mostPatience  = 30 * time.Second
	noRoomPause   = 50 * time.Millisecond // when the link has no room for a question
	overtaken     = 3                     // later answers after which an earlier one won't come

	mostWrong   = 16  // pieces that aren't what is signed
	mostUseless = 256 // answers that nobody asked for, and four for each piece
)

// errWrong is the error of a put whose piece isn't what it has to be.
var errWrong = errors.New("not what is signed")

// request is one file that is asked for piece by piece over a link.
type request struct {
	p     *Puller
	what  string          // for people
	name  func(*wire.Get) // says which file
	piece int
	size  int64 // of the file; 0 until the first answer tells
	most  int64 // that size may be
	have  *set
	put   func(index int, data []byte) error // checks and writes the piece, beside all else
	took  func(index int) error              // marks it in have, once it is put

	tid     uint32
	session uint64
	inHand  []int      // pieces that have come and aren't put yet, at most mostWindow
	asked   []question // under way, in this order
	given   []question // given up, and not come since

	doubt map[int]time.Duration // of pieces asked for twice: how long it took from the first question

	window  int
	rtt     time.Duration // smoothed; 0 if not known
	backoff uint          // how often patience was doubled since the last piece
	moved   time.Time     // when a piece came last, or waiting for it began
	pause   time.Time     // nothing is asked before
	busy    uint          // times that the fleet was, since the last piece

	wrong, useless int
}

// question is a piece under way.
type question struct {
	index int
	at    time.Time // of the first
	twice bool      // nobody knows which of the two an answer is to
	later int       // answers to later questions that have come
}

// run asks until everything is there. It waits through cuts for as long as ctx
// lasts; its errors are the fleet's refusals, ErrWrong, and put's.
func (r *request) run(ctx context.Context) error {
	tid, in, done := r.p.listen()
	defer done()
	r.tid, r.window, r.doubt = tid, 1, map[int]time.Duration{}
	come, put, end := r.putter()
	defer end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !r.whole() {
		link, session, changed := r.p.session()
		if session != r.session { // what was asked before is lost with its connection
			r.session, r.asked, r.given, r.backoff, r.pause = session, nil, nil, 0, time.Time{}
		}
		next := time.Now().Add(time.Hour)
		if session != 0 {
			next = r.step(link, time.Now())
		}
		timer.Reset(time.Until(next))
		answers := in
		if len(r.inHand) == mostWindow {
			answers = nil
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case b := <-answers:
			var piece *wire.Block
			if piece, err = r.take(b, time.Now()); piece != nil {
				come <- piece // it has room; the next piece is asked for meanwhile
			}
		case t := <-put:
			err = r.keep(t)
		case <-timer.C:
		}
		if err != nil {
			return fmt.Errorf("fetch %s: %w", r.what, err)
		}
	}
	return nil
}

// tried is a piece that was put, or couldn't be.
type tried struct {
	*wire.Block
	err error
}

// putter puts pieces on a goroutine of its own, so that hashing one doesn't hold
// up the next: at 64 KiB it takes as long as a quick link. end waits for it.
func (r *request) putter() (come chan<- *wire.Block, put <-chan tried, end func()) {
	in, out := make(chan *wire.Block, mostWindow), make(chan tried, mostWindow)
	var g sync.WaitGroup
	g.Go(func() {
		for b := range in {
			out <- r.try(b)
		}
	})
	return in, out, func() {
		close(in)
		g.Wait()
	}
}

func (r *request) try(b *wire.Block) tried {
	return tried{b, r.put(int(b.GetIndex()), b.GetData())}
}

// whole reports whether all pieces are there.
func (r *request) whole() bool { return r.size > 0 && r.have.count == r.pieces() }

// pieces is how many there are; one until the size is known.
func (r *request) pieces() int { return max(int((r.size+int64(r.piece)-1)/int64(r.piece)), 1) }

// step asks for what may be asked for, and tells when to look again.
func (r *request) step(link Link, now time.Time) (next time.Time) {
	if now.Before(r.pause) {
		return r.pause
	}
	if len(r.asked) > 0 && !now.Before(r.deadline()) {
		r.given, r.asked, r.window = append(r.given, r.asked...), nil, 1
		if r.patience() < mostPatience {
			r.backoff++
		}
	}
	for len(r.asked) < r.window {
		get, indexes := r.question()
		if get == nil {
			break
		}
		b, err := wire.Marshal(get)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		if !link.Say(wire.KindGet, 0, b) {
			return now.Add(noRoomPause)
		}
		if len(r.asked) == 0 {
			r.moved = now
		}
		for _, i := range indexes {
			q, twice := found(&r.given, i)
			if !twice {
				q.at = now
			}
			r.asked = append(r.asked, question{index: i, at: q.at, twice: twice})
		}
		r.p.count(func(s *Stats) { s.Asked += uint64(len(indexes)) })
	}
	return r.deadline()
}

// question is about the next pieces that are missing and not under way, as many as the
// window has room for and one message can name; nil if there are none.
func (r *request) question() (*wire.Get, []int) {
	free := r.window - len(r.asked)
	get := &wire.Get{Tid: r.tid, Piece: uint32(r.piece)}
	r.name(get)
	var indexes []int
	for i := r.have.missing(0, r.pieces()); i >= 0 && len(indexes) < free; i = r.have.missing(i+1, r.pieces()) {
		if slices.Contains(r.inHand, i) || r.under(i) >= 0 {
			continue
		}
		if len(indexes) == 0 {
			get.First = uint32(i)
		}
		at := i - int(get.First)
		if at >= 64 {
			break
		}
		for len(get.Wanted) <= at/8 {
			get.Wanted = append(get.Wanted, 0)
		}
		get.Wanted[at/8] |= 1 << (at % 8)
		indexes = append(indexes, i)
	}
	if len(indexes) == 0 {
		return nil, nil
	}
	return get, indexes
}

// found takes the question for a piece off a list.
func found(list *[]question, index int) (q question, ok bool) {
	i := slices.IndexFunc(*list, func(q question) bool { return q.index == index })
	if i < 0 {
		return q, false
	}
	q = (*list)[i]
	*list = slices.Delete(*list, i, i+1)
	return q, true
}

// under is the place of a piece among those under way, -1 if it isn't.
func (r *request) under(index int) int {
	return slices.IndexFunc(r.asked, func(q question) bool { return q.index == index })
}

// patience is how long to wait for the next piece.
func (r *request) patience() time.Duration {
	least := firstPatience
	if r.rtt > 0 {
		least = max(leastPatience, 4*r.rtt)
	}
	return min(least<<r.backoff, mostPatience)
}

func (r *request) deadline() time.Time { return r.moved.Add(r.patience()) }

// take takes an answer, which may be anything, and gives the piece that it is,
// nil if it is none that is wanted.
func (r *request) take(payload []byte, now time.Time) (piece *wire.Block, err error) {
	b, err := wire.UnmarshalBlock(payload)
	if err != nil {
		return nil, r.unwanted(0)
	}
	switch b.GetFault() {
	case wire.Block_FAULT_UNSPECIFIED:
	case wire.Block_FAULT_MISSING:
		return nil, fmt.Errorf("%w%s", ErrMissing, quoted(b.GetText()))
	case wire.Block_FAULT_REQUEST:
		return nil, fmt.Errorf("%w%s", ErrRefused, quoted(b.GetText()))
	default: // busy, or what a newer fleet may say: later
		r.asked, r.given = nil, nil
		r.pause = now.Add(jitter(min(leastPatience<<r.busy, mostPatience)))
		r.busy = min(r.busy+1, 5)
		return nil, nil
	}
	index := int(b.GetIndex())
	if size := int64(min(b.GetSize(), 1<<62)); r.size == 0 {
		if size == 0 || size > r.most {
			return nil, fmt.Errorf("%w: it has %d bytes, 1 to %d will do", ErrWrong, size, r.most)
		}
		r.size = size
	} else if size != r.size {
		return nil, r.bad(index, fmt.Errorf("it has %d bytes now, expected %d", size, r.size))
	}
	if index >= r.pieces() {
		return nil, r.unwanted(len(b.GetData()))
	}
	if r.have.has(index) || slices.Contains(r.inHand, index) {
		r.moved = now
		if rtt, ok := r.doubt[index]; ok { // so the one before answered the first question, and the link is that slow
			r.rtt = max(r.rtt, min(rtt, mostPatience))
			delete(r.doubt, index)
		}
		return nil, r.unwanted(len(b.GetData()))
	}
	if len(b.GetData()) != r.length(index) {
		return nil, r.bad(index, fmt.Errorf("piece %d has %d bytes, expected %d", index, len(b.GetData()), r.length(index)))
	}
	r.arrived(index, now)
	r.inHand = append(r.inHand, index)
	return b, nil
}

// keep marks a piece that was put.
func (r *request) keep(t tried) error {
	index := int(t.GetIndex())
	r.inHand = slices.DeleteFunc(r.inHand, func(i int) bool { return i == index })
	switch {
	case errors.Is(t.err, errWrong):
		return r.bad(index, t.err)
	case t.err != nil:
		return t.err
	}
	r.p.count(func(s *Stats) { s.Bytes += uint64(len(t.GetData())) })
	return r.took(index)
}

// length is how many bytes a piece has.
func (r *request) length(index int) int {
	return int(min(r.size-int64(index)*int64(r.piece), int64(r.piece)))
}

// arrived learns from an answer that was good.
func (r *request) arrived(index int, now time.Time) {
	r.moved, r.busy = now, 0
	at := r.under(index)
	q, ok := found(&r.given, index) // it was given up too early
	if at >= 0 {
		q, ok = r.asked[at], true
	}
	switch {
	case ok && q.twice:
		r.doubt[index] = now.Sub(q.at)
	case ok:
		r.measure(min(now.Sub(q.at), mostPatience))
	}
	if r.rtt > 0 {
		r.backoff = 0
	}
	kept := r.asked[:0]
	for i, q := range r.asked {
		if i < at {
			q.later++
		}
		switch {
		case i == at:
		case q.later < overtaken:
			kept = append(kept, q)
		default:
			r.given = append(r.given, q)
		}
	}
	r.asked = kept
}

// measure smooths as TCP does, by an eighth of the new, and fits the window.
func (r *request) measure(rtt time.Duration) {
	if r.rtt == 0 {
		r.rtt = rtt
	}
	r.rtt += (rtt - r.rtt) / 8
	switch {
	case rtt < quick:
		r.window = min(r.window+1, mostWindow)
	case rtt > late:
		r.window = max(r.window-1, 1)
	}
}

// bad counts a piece that isn't what it has to be; it is asked for again.
func (r *request) bad(index int, why error) error {
	r.p.count(func(s *Stats) { s.Wrong++ })
	found(&r.asked, index)
	if r.wrong++; r.wrong > mostWrong {
		return fmt.Errorf("%w: %d of them came, the last: %w", ErrWrong, r.wrong, why)
	}
	return nil
}

// unwanted counts an answer that is good for nothing, of so many bytes.
func (r *request) unwanted(bytes int) error {
	r.p.count(func(s *Stats) { s.Again += uint64(bytes) })
	if r.useless++; r.useless > mostUseless+4*r.pieces() {
		return fmt.Errorf("%w: data without end, %d answers came that weren't asked for", ErrWrong, r.useless)
	}
	return nil
}

// quoted is a text from outside, for the end of an error.
func quoted(text string) string {
	const most = 200
	if text == "" {
		return ""
	}
	if len(text) > most {
		text = text[:most]
	}
	return ": it says " + fmt.Sprintf("%q", strings.ToValidUTF8(text, "\ufffd"))
}

// jitter is from two thirds to four thirds of d.
func jitter(d time.Duration) time.Duration { return d*2/3 + rand.N(d*2/3+1) }
