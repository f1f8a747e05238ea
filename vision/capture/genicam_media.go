//go:build cgo && (media || gocv)

package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// How a camera's control channel is watched.
const (
	pulseEvery = 250 * time.Millisecond
	pulseMost  = 1600 * time.Millisecond // Aravis asks thrice in it, on a network that loses packets
	fireMost   = 500 * time.Millisecond  // a trigger that waited longer would show another part

	popEvery = 100 * time.Millisecond // between looks at what ends a wait
)

// versionRegister, of GenCP, is there on every USB3 Vision camera.
const versionRegister = 0x0000

// Buffers that the stream fills in turn.
const (
	buffersLeast  = 6
	buffersMost   = 64
	buffersMemory = 128 << 20 // bytes, if more than the least
)

// genICamReader reads one GigE Vision or USB3 Vision camera.
type genICamReader struct {
	cam     *aravisCamera
	stop    <-chan struct{} // closed when the worker is to end
	patient bool
	silence time.Duration // after which a camera that runs freely is lost

	// Of the stream, Read's own.
	newest aravisBuffer // complete, not handed over
	have   bool
	mono   int64         // when newest was taken
	timing vision.Timing // how well that is known
	stamp  int64         // of newest by the camera's clock, ns; 0: it has none
	pace   pace
	count  frameCount
	lost   shot // what is to be counted with newest, which came after them
	room   int  // bytes, asked for before the first picture; then 0

	// Of the control channel, which attend has for itself.
	asks     chan ask
	lit      lit // Read's too
	quit     chan struct{}
	attended chan struct{}         // closed at attend's end
	asked    atomic.Int64          // when the answer was asked for that hasn't come, monotonic ns; else 0
	gone     atomic.Pointer[error] // why the camera is lost
}

// ask is what attend is asked to do: an exposure to set, or without one to trigger.
type ask struct {
	at       time.Time
	exposure time.Duration
	woe      func(error) // hears why the exposure isn't set
}

// openGenICam opens an industrial camera and starts its stream.
func openGenICam(ctx context.Context, o order) (reader, opened, error) {
	if err := loadAravis(); err != nil {
		return nil, opened{}, err
	}
	cam, err := findGenICam(o.At, ctx.Done())
	if err != nil {
		return nil, opened{}, err
	}
	r := &genICamReader{
		cam: cam, stop: ctx.Done(), patient: o.patient(), silence: o.read(),
		asks: make(chan ask, 16), quit: make(chan struct{}), attended: make(chan struct{}),
	}
	r.lit.now = o.Options.Exposure
	if o.Options.Trigger == "" {
		r.lit.doubt = 2 // one may be exposed at this moment while the one before it is read out
	}
	desc, err := r.begin(o.Options)
	if err != nil {
		cam.close()
		return nil, opened{}, err
	}
	go r.attend()
	return r, desc, nil
}

func (r *genICamReader) begin(o Options) (opened, error) {
	desc := opened{Reader: "aravis"}
	if err := r.cam.setUp(o); err != nil {
		return desc, err
	}
	f, err := r.cam.format()
	if err != nil {
		return desc, err
	}
	desc.Codec = f.names[0]
	defer func() { r.room = f.size(desc.Width, desc.Height) }()
	for feature, to := range map[string]*int{"Width": &desc.Width, "Height": &desc.Height} {
		v, err := r.cam.integer(feature)
		if err != nil {
			return desc, fmt.Errorf("size: %w", err)
		}
		*to = int(v)
	}
	if o.Trigger == "" {
		desc.Rate, _ = r.cam.get(rateOf) // not every camera tells it
	}
	bytes, err := r.cam.payload()
	if err != nil {
		return desc, fmt.Errorf("size of a picture: %w", err)
	}
	if desc.Width > maxSide || desc.Height > maxSide || bytes < desc.Width*desc.Height*f.bytes || bytes > 1<<30 {
		return desc, fmt.Errorf("the camera announces pictures of %d bytes, which can't be %dx%d in %s", bytes, desc.Width, desc.Height, f.names[0])
	}
	if err := r.cam.start(bytes, min(max(buffersMemory/bytes, buffersLeast), buffersMost)); err != nil {
		return desc, fmt.Errorf("start the stream: %w", err)
	}
	return desc, nil
}

// Fire makes the camera take a picture. It doesn't wait for it.
func (r *genICamReader) Fire() error {
	if !r.ask(ask{at: time.Now()}) {
		return errors.New("trigger passed over: the camera doesn't keep up with them")
	}
	return nil
}

// Expose sets the exposure, before any trigger that is asked for later.
func (r *genICamReader) Expose(d time.Duration, woe func(error)) {
	if !r.ask(ask{exposure: d, woe: woe}) {
		woe(fmt.Errorf("exposure %v passed over: the camera doesn't keep up with what is asked of it", d))
	}
}

// ask leaves it to attend, unless too much waits already.
func (r *genICamReader) ask(a ask) bool {
	select {
	case r.asks <- a:
		return true
	default:
		return false
	}
}

// attend triggers and sets the exposure, and asks all the while whether the camera is there and still
// ours. An answer may take seconds when it is not, so Read doesn't wait for it.
func (r *genICamReader) attend() {
	defer close(r.attended)
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-r.quit:
			return
		case a := <-r.asks:
			err = r.answer(a)
		case <-tick.C:
			err = r.pulse()
		}
		if err != nil {
			r.gone.Store(&err)
			return
		}
	}
}

// answer does what was asked. An exposure that the camera doesn't take is no error: if
// it is gone, the next pulse tells.
func (r *genICamReader) answer(a ask) error {
	if a.exposure > 0 {
		if err := r.lit.change(a.exposure, func() error { return r.cam.setExposure(a.exposure) }); err != nil {
			a.woe(err)
		}
		return nil
	}
	if late := time.Since(a.at); late > fireMost {
		fmt.Fprintf(os.Stderr, "trigger passed over: the camera was busy for %v\n", late.Round(time.Millisecond)) // the agent logs it
		return nil
	}
	if err := r.cam.fire(); err != nil {
		return fmt.Errorf("the camera can't be triggered any more: %w", err)
	}
	return nil
}

func (r *genICamReader) pulse() error {
	at := uint64(versionRegister)
	if r.cam.gigE() {
		at = privilegeRegister
	}
	r.asked.Store(monotonic())
	v, err := r.cam.register(at)
	r.asked.Store(0)
	switch {
	case err != nil:
		return fmt.Errorf("the camera is gone: %w", err)
	case r.cam.gigE() && v&privilegeBits == 0:
		return errors.New("the camera has forgotten us: it was restarted, or cut off for longer than its heartbeat")
	}
	return nil
}

// over tells why the camera can't be read any more, nil as long as it can.
func (r *genICamReader) over() error {
	if err := r.gone.Load(); err != nil {
		return *err
	}
	if at := r.asked.Load(); at != 0 && monotonic()-at > int64(pulseMost) {
		return errors.New("the camera doesn't answer any more: is it off, or its cable out?")
	}
	select {
	case <-r.stop:
		return errGone
	default:
		return nil
	}
}

// Read hands over the newest complete picture.
func (r *genICamReader) Read(room roomFunc) (shot, error) {
	if r.room > 0 { // the agent makes the memory, which takes a while
		if _, err := room(r.room); err != nil {
			return shot{}, err
		}
		r.room = 0
	}
	for began := time.Now(); !r.have; {
		if err := r.over(); err != nil {
			return shot{}, err
		}
		waited := time.Since(began)
		switch {
		case r.patient && waited >= beatEvery-popEvery:
			return shot{}, errNothing
		case !r.patient && waited >= r.silence && r.count.broken > 0:
			return shot{}, fmt.Errorf("none of the last %d pictures came whole: packets are lost on the way (network card, switch, or a packet size that they don't take)", r.count.broken)
		case !r.patient && waited >= r.silence:
			return shot{}, errSilent
		}
		if err := r.drain(uint64(popEvery.Microseconds())); err != nil {
			return shot{}, err
		}
	}
	if err := r.drain(0); err != nil { // a newer one may be there
		return shot{}, err
	}
	defer r.pass()
	return r.hand(room)
}

// hand copies the newest picture into its room.
func (r *genICamReader) hand(room roomFunc) (shot, error) {
	b := &r.newest
	f := formatOf(b.format)
	if f == nil {
		return shot{}, fmt.Errorf("the camera sends pictures in a pixel format (PFNC %#08x) that isn't read here", b.format)
	}
	stride := b.width*f.bytes + b.extra
	if b.width <= 0 || b.height <= 0 || b.width > maxSide || b.height > maxSide || stride*b.height-b.extra > len(b.data) {
		return shot{}, fmt.Errorf("the camera sends %d bytes for a picture of %dx%d in %s", len(b.data), b.width, b.height, f.names[0])
	}
	s := r.lost
	s.taken = taken{Width: b.width, Height: b.height, Gray: f.gray(), Mono: r.mono, Timing: r.timing, Stamp: r.stamp, Exposure: r.lit.of(r.mono)}
	n := f.size(b.width, b.height)
	mem, err := room(n)
	if err != nil {
		return shot{}, err
	}
	r.lost = shot{}
	if s.empty = mem == nil; !s.empty {
		f.lay(mem[:n], b.data, b.width, b.height, stride)
	}
	return s, nil
}

// drain takes what the stream has, waiting up to so many µs for the first, and
// keeps the newest complete picture.
func (r *genICamReader) drain(wait uint64) error {
	for {
		b, ok := r.cam.next(wait)
		if !ok {
			return nil
		}
		wait = 0
		if !b.complete { // its number may be that of the buffer's picture before
			r.cam.giveBack(&b)
			r.count.broken++
			continue
		}
		if b.payload != 1 && b.data == nil {
			r.cam.giveBack(&b)
			return fmt.Errorf("the camera sends something else than plain pictures (GenICam payload %d): turn off chunk data and multipart", b.payload)
		}
		if r.have {
			r.lost.skipped++
			r.pass()
		}
		incomplete, skipped := r.count.complete(b.id, r.cam.underruns)
		r.lost.incomplete += incomplete
		r.lost.skipped += skipped
		r.newest, r.have = b, true
		r.time(&b)
	}
}

// pass gives the newest picture's buffer back to the stream.
func (r *genICamReader) pass() {
	r.cam.giveBack(&r.newest)
	r.newest, r.have = aravisBuffer{}, false
}

// time finds out when a picture was taken.
func (r *genICamReader) time(b *aravisBuffer) {
	came := arrival(b.arrived)
	if b.stamp <= 0 || b.stamp == b.arrived {
		r.mono, r.timing, r.stamp = came, vision.Arrived, 0
		return
	}
	r.mono, r.timing, r.stamp = r.pace.at(b.stamp, came), vision.Stamped, b.stamp
	if r.pace.lies {
		r.timing = vision.Arrived
	}
}

// Close ends the stream and gives the camera back. One that doesn't answer is
// left to its heartbeat: the process ends now, and waiting would be in vain.
func (r *genICamReader) Close() {
	close(r.quit)
	if err := r.over(); err != nil && !errors.Is(err, errGone) {
		return
	}
	select {
	case <-r.attended:
		r.cam.close()
	case <-time.After(popEvery):
	}
}
