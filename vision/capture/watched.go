package capture

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// How a watched folder is looked at.
const (
	passEvery = 250 * time.Millisecond // the folder is listed, where that is quick
	passShare = 40                     // at most one part in so many of the time goes into listing
	passMost  = 10 * time.Second       // and is listed at least so often
	restat    = 500                    // known files of a listing that are looked at for new content

	answerEvery = 200 * time.Millisecond // Read comes back; less than stopGrace
	hangs       = 10 * time.Second       // a folder that doesn't answer for so long is lost: its share has gone
	hangsFile   = filePatience           // the same while one picture is read and decoded
)

// tries says when a file that has stood still for so long is tried, time after
// time. When the last try fails, it is unreadable. A writer that is known to
// have the file still open is waited for.
type tries struct{ closed, open [3]time.Duration }

func usualTries() tries {
	return tries{
		closed: [3]time.Duration{200 * time.Millisecond, time.Second, 5 * time.Second},
		open:   [3]time.Duration{5 * time.Second, 20 * time.Second, time.Minute},
	}
}

// askAgain is when a file that can't be opened or read is tried again.
const askAgain = 30 * time.Second

// watchedReader gives the pictures that come into a folder, each once and
// whole. Finding the next one runs beside Read, so that a large picture or a
// slow share isn't taken for a source that hangs.
type watchedReader struct {
	dir     string
	id      dirID
	byTime  bool   // the order is by time of change instead of by name
	done    string // keep, move or delete
	doneDir string
	events  *folderEvents // nil where the kernel tells nothing
	found   chan found    // of the find that runs, room for one
	due     atomic.Int64  // monotonic ns at which find must have moved on
	doing   atomic.Int64  // the same for the Done that runs; 0 while none does
	stop    chan struct{}
	busy    bool // a find runs

	// Only find's:
	files   map[string]*watchedFile // pictures by name
	waiting map[string]*watchedFile // those that aren't whole yet
	nextTry time.Time               // when the first of waiting is due
	ready   fileHeap                // those that may be whole, in order
	look    time.Time               // when the folder is listed next
	round   uint32                  // of listings
	cursor  int                     // the first of the known files that the next listing looks at
	tries   tries
	seed    maphash.Seed

	moving sync.Mutex // held over what Done and find do to files

	mu     sync.Mutex // protects what follows
	given  map[string]givenFile
	owed   map[string]*owedFile // done, but not yet moved or deleted
	lifted []string             // moved or deleted since find last looked
}

type found struct {
	shot shot
	err  error
}

type fileState uint8

const (
	fileWaiting fileState = iota
	fileReady
	fileOver // given, or told as unreadable
)

// watchedFile is a picture in the folder.
type watchedFile struct {
	name    string
	sig     fileSig
	since   time.Time // when sig was first seen
	state   fileState
	open    bool // a writer is known to have it open
	whole   bool // its writer has closed it or renamed it into place
	rewrote bool // a writer is known to have had it since it was given
	failed  int  // tries that failed with this sig
	told    bool // that it can't be opened
	round   uint32

	sum  uint64 // of the bytes that were given
	size int64  // how many; 0 if none were
}

// openWatched waits for the pictures that come into a folder.
func openWatched(o order) (reader, opened, error) {
	id, err := folderID(o.At)
	if err != nil {
		return nil, opened{}, err
	}
	r := &watchedReader{
		dir: o.At, id: id, byTime: o.Options.Order == "time", done: cmp.Or(o.Options.Done, "keep"), doneDir: o.Options.DoneDir,
		found: make(chan found, 1), stop: make(chan struct{}), seed: maphash.MakeSeed(), tries: usualTries(),
		files: map[string]*watchedFile{}, waiting: map[string]*watchedFile{},
		given: map[string]givenFile{}, owed: map[string]*owedFile{},
	}
	r.ready.byTime = r.byTime
	if r.done == "move" {
		if other, err := folderID(r.doneDir); err == nil && other == id {
			return nil, opened{}, errors.New("the folder for what is done is the watched folder itself: name another one")
		}
	}
	if r.events, err = hearFolder(o.At); err != nil {
		fmt.Fprintf(os.Stderr, "watched folder: %v: it is looked at every %v instead\n", err, passEvery)
	}
	return r, opened{Codec: "pictures", Reader: "go"}, nil
}

// Read gives the next picture that is whole.
func (r *watchedReader) Read(room roomFunc) (shot, error) {
	if !r.busy {
		r.busy = true
		r.alive(hangs)
		go func() {
			s, err := r.find(room)
			r.found <- found{s, err}
		}()
	}
	t := time.NewTimer(answerEvery)
	defer t.Stop()
	select {
	case f := <-r.found:
		r.busy = false
		return f.shot, f.err
	case <-t.C:
		now, doing := monotonic(), r.doing.Load()
		switch {
		case now > r.due.Load():
			return shot{}, errors.New("the folder doesn't answer: has its share or disk gone?")
		case doing != 0 && now > doing:
			return shot{}, errors.New("moving or deleting what is done takes for ever: has the share or disk gone?")
		}
		return shot{}, errNothing
	}
}

// alive gives find so much time until it must say so again.
func (r *watchedReader) alive(d time.Duration) { r.due.Store(monotonic() + d.Nanoseconds()) }

// Close ends find. One that hangs in a share isn't waited for: the process ends.
func (r *watchedReader) Close() {
	close(r.stop)
	r.events.close()
	if !r.busy {
		return
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-r.found:
	case <-t.C:
	}
}

// find waits until a picture is whole and decodes it.
func (r *watchedReader) find(room roomFunc) (shot, error) {
	for {
		r.alive(hangs)
		events, err := r.wait()
		if err != nil {
			return shot{}, err
		}
		r.forgetLifted()
		if err := r.hear(events); err != nil {
			return shot{}, err
		}
		if !time.Now().Before(r.look) {
			if err := r.list(); err != nil {
				return shot{}, err
			}
		}
		r.retryOwed()
		r.promote(time.Now())
		if r.ready.Len() == 0 {
			continue
		}
		f := heap.Pop(&r.ready).(*watchedFile)
		if r.files[f.name] != f || f.state != fileReady {
			continue // gone, or changed since
		}
		s, err := r.try(f, room)
		if !errors.Is(err, errNothing) {
			return s, err
		}
	}
}

// wait listens until something happens or is due.
func (r *watchedReader) wait() ([]folderEvent, error) {
	select {
	case <-r.stop:
		return nil, os.ErrClosed
	default:
	}
	until := r.look
	if r.ready.Len() > 0 {
		until = time.Time{}
	} else if len(r.waiting) > 0 && r.nextTry.Before(until) {
		until = r.nextTry
	}
	if most := time.Now().Add(time.Second); until.After(most) {
		until = most // for what is owed, and so that alive is said
	}
	if r.events != nil {
		return r.events.wait(until)
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-r.stop:
		return nil, os.ErrClosed
	case <-t.C:
		return nil, nil
	}
}

// due is when a waiting file is tried; false while it is empty.
func (f *watchedFile) due(t *tries) (time.Time, bool) {
	after := t.closed
	if f.open {
		after = t.open
	}
	switch {
	case f.sig.size == 0:
		return time.Time{}, false
	case f.told:
		return f.since.Add(askAgain), true
	case f.whole && f.failed == 0:
		return f.since, true
	}
	return f.since.Add(after[min(f.failed, len(after)-1)]), true
}

// promote moves the waiting files that are due to ready.
func (r *watchedReader) promote(now time.Time) {
	if len(r.waiting) == 0 || now.Before(r.nextTry) {
		return
	}
	r.nextTry = now.Add(time.Hour)
	for name, f := range r.waiting {
		due, ok := f.due(&r.tries)
		switch {
		case !ok:
		case due.After(now):
			if due.Before(r.nextTry) {
				r.nextTry = due
			}
		default:
			delete(r.waiting, name)
			f.state = fileReady
			heap.Push(&r.ready, f)
		}
	}
}

// wake makes a file wait that is new or has changed.
func (r *watchedReader) wake(f *watchedFile) {
	f.state = fileWaiting
	r.waiting[f.name] = f
	if due, ok := f.due(&r.tries); ok && due.Before(r.nextTry) {
		r.nextTry = due
	}
}

// changed notes that a file has other content now.
func (r *watchedReader) changed(f *watchedFile, sig fileSig) {
	f.sig, f.since, f.failed, f.told, f.whole = sig, time.Now(), 0, false, false
	r.wake(f)
}

// try reads a file that has stood still. errNothing: it isn't a new picture, or
// not yet.
func (r *watchedReader) try(f *watchedFile, room roomFunc) (shot, error) {
	r.alive(hangsFile)
	stamp := monotonic()
	bad := errUnreadable{}
	data, sig, err := readWhole(filepath.Join(r.dir, f.name))
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, errNoFile):
		delete(r.files, f.name)
		return shot{}, errNothing
	case sig != f.sig && sig != (fileSig{}):
		r.changed(f, sig)
		return shot{}, errNothing
	case errors.As(err, &bad):
		return r.cannot(f, bad.err, true)
	case err != nil:
		return r.cannot(f, bare(err), false)
	}
	sum := maphash.Bytes(r.seed, data)
	if f.size == sig.size && f.sum == sum && !f.rewrote {
		f.state = fileOver // only its time was changed
		r.touched(f)
		return shot{}, errNothing
	}
	s, err := decodeInto(data, func(n int) ([]byte, error) {
		r.due.Store(math.MaxInt64) // until somebody is done with a slot
		mem, err := room(n)
		r.alive(hangsFile)
		return mem, err
	})
	switch {
	case errors.As(err, &bad):
		return r.cannot(f, bad.err, true)
	case err != nil:
		return shot{}, err
	}
	f.state, f.sum, f.size, f.rewrote, f.open = fileOver, sum, sig.size, false, false
	s.Mono, s.Name, s.Key = stamp, shownName(f.name), sig.key()
	r.give(f)
	return s, nil
}

// cannot notes a try that failed, and tells of the last one. What can't be
// decoded is done with, as if it had been judged, but never deleted; what can't
// even be read is tried again.
func (r *watchedReader) cannot(f *watchedFile, why error, decoded bool) (shot, error) {
	if f.told || f.failed < len(r.tries.closed)-1 {
		f.failed++
		if f.told {
			f.since = time.Now()
		}
		r.wake(f)
		return shot{}, errNothing
	}
	err := errUnreadable{fmt.Errorf("picture %s: %w", shownName(f.name), why)}
	if !decoded {
		f.told, f.since = true, time.Now()
		r.wake(f)
		return shot{}, err
	}
	f.state, f.size, f.rewrote, f.open = fileOver, 0, false, false
	if r.done == "move" {
		r.give(f)
		if _, err := r.Done(f.sig.key() + "/" + shownName(f.name)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return shot{}, err
}
