package capture

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// What the agent asks of a worker, and what a worker tells.
const (
	askStart = "start" // open the source and read
	askPool  = "pool"  // use this memory from now on; its descriptor is beside the message
	askFree  = "free"  // the slot is the worker's again
	askDone  = "done"  // the picture of that name, from a watched folder, has its verdict
	askFire  = "fire"  // the camera is to take a picture now
	askLight = "light" // the camera is to expose for so long from now on

	tellOpen  = "open"  // the source is open
	tellRoom  = "room"  // slots of Bytes are needed before reading can go on
	tellFrame = "frame" // the slot holds a frame and is the agent's
	tellBeat  = "beat"  // the camera gives frames but none can be handed over, or there is nothing to give yet
	tellGone  = "gone"  // a picture that was done has been moved or deleted
	tellWoe   = "woe"   // something went wrong that costs no picture
	tellSkip  = "skip"  // a picture can't be read and was left out
	tellEnd   = "end"   // the source has ended or is lost; the worker is done
)

// message is the one shape of the capture protocol, in both directions. Which
// fields count depends on Kind.
type message struct {
	Kind string `json:"k"`

	Order *order    `json:"order,omitempty"` // start
	Pool  *shm.Info `json:"pool,omitempty"`  // pool
	ID    uint64    `json:"id,omitempty"`    // of the pool: free, frame
	Slot  int       `json:"slot,omitempty"`  // free, frame
	Bytes int       `json:"bytes,omitempty"` // room

	Opened *opened `json:"opened,omitempty"` // open
	Frame  *taken  `json:"frame,omitempty"`  // frame
	Counts counts  `json:"counts,omitzero"`  // frame, beat, skip, end

	Name string `json:"name,omitempty"` // done, gone

	Exposure time.Duration `json:"exposure,omitempty"` // light
	Text     string        `json:"text,omitempty"`     // woe, skip, end: the reason; empty at the regular end
	Cut      string        `json:"cut,omitempty"`      // end: what is missing of a recording

	Denied bool `json:"denied,omitempty"` // end: user or password are wrong; asking again soon may lock the account
}

// order says what a worker reads.
type order struct {
	Kind     kind   `json:"kind"`
	At       string `json:"at"`
	Loop     bool   `json:"loop,omitempty"`
	Realtime bool   `json:"realtime,omitempty"`
	Read     int64  `json:"read,omitempty"` // longest wait for a live picture, ms
	Skip     uint64 `json:"skip,omitempty"` // pictures at the start of a recording or folder that an earlier worker has given

	User     string  `json:"user,omitempty"` // from Options.Credentials
	Password string  `json:"password,omitempty"`
	Options  Options `json:"options,omitzero"`
}

// drops tells whether a picture without room is dropped instead of waited for.
func (o order) drops() bool { return o.Kind.live() && o.Kind != watched || o.Realtime }

// patient tells whether nothing may come for long although all is well: the
// worker then beats at least every beatEvery.
func (o order) patient() bool { return o.Kind == watched || o.Options.Trigger != "" }

// read is the longest wait for a live picture.
func (o order) read() time.Duration { return time.Duration(o.Read) * time.Millisecond }

// opened describes a source as far as it tells.
type opened struct {
	Width  int     `json:"w,omitempty"`
	Height int     `json:"h,omitempty"`
	Rate   float64 `json:"fps,omitempty"` // frames a second, announced
	Codec  string  `json:"codec,omitempty"`
	Reader string  `json:"reader,omitempty"` // which library reads it
}

// taken is one picture in a slot.
type taken struct {
	Width  int    `json:"w"`
	Height int    `json:"h"`
	Mono   int64  `json:"mono"` // CLOCK_MONOTONIC when it was taken, ns
	Media  int64  `json:"media,omitempty"`
	Name   string `json:"name,omitempty"`

	Gray   bool          `json:"gray,omitempty"`   // vision.Gray8 instead of BGR24
	Timing vision.Timing `json:"timing,omitempty"` // 0 means vision.Read
	Stamp  int64         `json:"stamp,omitempty"`  // by the camera's own clock, ns since whatever; 0: it tells none

	Exposure time.Duration `json:"exposure,omitempty"` // that the camera surely had for it, as it was asked for; 0: unknown

	Key string `json:"key,omitempty"` // of a watched folder's picture: tells a new file of an old name
}

// format is the layout of the picture's bytes, row by row without gaps.
func (t *taken) format() vision.PixelFormat {
	if t.Gray {
		return vision.Gray8
	}
	return vision.BGR24
}

// counts are totals since the worker began.
type counts struct {
	Captured   uint64 `json:"captured,omitempty"`   // pictures that the source gave, unreadable ones included
	Late       uint64 `json:"late,omitempty"`       // passed over because a newer one was there
	NoRoom     uint64 `json:"noroom,omitempty"`     // dropped because every slot was in use
	Unreadable uint64 `json:"unreadable,omitempty"` // corrupt
	Incomplete uint64 `json:"incomplete,omitempty"` // parts of it were lost on the way
	Stale      uint64 `json:"stale,omitempty"`      // held back by the camera or the network, and old when it came
}

func (c counts) plus(d counts) counts {
	return counts{c.Captured + d.Captured, c.Late + d.Late, c.NoRoom + d.NoRoom, c.Unreadable + d.Unreadable,
		c.Incomplete + d.Incomplete, c.Stale + d.Stale}
}

// monotonic is the kernel's clock that all processes share, ns.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("BUG: no CLOCK_MONOTONIC: " + err.Error()) // every Linux has it
	}
	return ts.Nano()
}

// when converts a stamp of monotonic to a time with this process's monotonic
// reading. A stamp from the future is now.
func when(stamp int64) time.Time {
	now := time.Now()
	return now.Add(-time.Duration(max(monotonic()-stamp, 0)))
}
