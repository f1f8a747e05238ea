// Package store is the fleet's memory: one SQLite file with devices, results,
// how far each device's journal has come, and who may log in.
package store

import (
	"errors"
	"time"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// Errors that callers tell apart. They come wrapped.
var (
	ErrNotFound = errors.New("there is no such thing")
	ErrExists   = errors.New("there is one already")
	ErrUsed     = errors.New("it was used before")
	ErrExpired  = errors.New("it has expired")
	ErrNewer    = errors.New("a newer version of this program wrote the database: run that one")
	ErrFull     = errors.New("no space is left for the database")
	ErrDamaged  = errors.New("the database is damaged")
	ErrRange    = errors.New("the batch's numbers are beyond all that a journal can have")
	ErrEpochs   = errors.New("the device has begun more journals than the fleet keeps apart: enrol it anew")
)

// Device is one enrolled device. Times are zero for what hasn't happened; all
// but State's own are by the fleet's clock.
type Device struct {
	ID, Group, Label string
	Hostname         string
	Enrolled         time.Time
	CertSerial       string // hex, of the newest certificate
	CertNotAfter     time.Time
	Revoked          time.Time

	Connection uint64    // names the newest connection; 0 before the first
	Connected  time.Time // when that was made
	Ended      time.Time // when that one was told to have ended; zero while it lasts
	Heard      time.Time // the newest message of any kind
	Every      time.Duration
	Hello      *wire.Hello // the newest, nil before the first
	State      *wire.State // the newest, nil before the first
	StateAt    time.Time

	Epoch     uint64 // of the newest Hello
	Watermark uint64 // committed in that epoch
	Last      *Row   // the newest result received, nil before the first; its Record is nil
}

// Presence says whether a device is there.
type Presence string

// The presences.
const (
	Never   Presence = "never"   // enrolled, and not heard of since
	Online  Presence = "online"  // its connection lasts and it is heard in time
	Stale   Presence = "stale"   // nothing was heard of it for three of its intervals
	Offline Presence = "offline" // its connection was told to have ended
	Revoked Presence = "revoked"
)

// Presence of the device now, and since when.
func (d *Device) Presence(now time.Time) (Presence, time.Time) {
	quiet := 3*d.Every + time.Second
	if d.Every == 0 {
		quiet = DefaultQuiet
	}
	switch {
	case !d.Revoked.IsZero():
		return Revoked, d.Revoked
	case d.Heard.IsZero():
		return Never, d.Enrolled
	case !d.Ended.IsZero():
		return Offline, d.Ended
	case now.Sub(d.Heard) > quiet:
		return Stale, d.Heard
	}
	return Online, d.Connected
}

// DefaultQuiet is how long a device that hasn't said how often it speaks may
// be silent.
const DefaultQuiet = 45 * time.Second

// Sign is a message of a device, for what it says of the device's presence.
// At most one of the messages is set; without, the device was merely heard.
type Sign struct {
	Device string
	At     time.Time // by the fleet's clock
	Hello  *wire.Hello
	Life   *wire.Life
	State  *wire.State
}

// Row is a result as the fleet has it.
type Row struct {
	ID         int64 // order of arrival, over all devices
	Device     string
	Epoch, Seq uint64 // in the device's journal
	Received   time.Time
	Decided    time.Time // by the device's clock
	Station    string
	Part       string
	Label      string
	Verdict    vision.Verdict // as the line was told it
	Reason     string
	Record     *wire.Result
	Told       *wire.Told // the amendment, nil without
	Again      bool       // not new: it was stored before, and is told otherwise now; only in Took.Retold
}

// Query says which results are wanted, newest arrival first.
type Query struct {
	Before  int64 // IDs below it; 0 from the newest
	Limit   int
	Device  string // "" for any, as below
	Station string
	Part    string
	Trigger string // its ID
	Recipe  string
	Label   string
	Verdict *vision.Verdict
}

// Batch is a device's batch on its way into the store.
type Batch struct {
	Device string
	Batch  *wire.Batch
}

// Mark is how far a device's epoch has come.
type Mark struct {
	Device    string
	Epoch     uint64
	Watermark uint64
	Known     bool // the device is enrolled and not revoked; else nothing was stored
	Took      Took // of the batch; zero from Watermark
}

// Took says what became of a batch.
type Took struct {
	Rows       []Row // results stored now
	Retold     []Row // results stored before that were told otherwise, as they are now; not all if they are many megabytes
	Amended    int   // results that were told otherwise
	Holes      int
	Unreadable int   // items set aside
	Duplicates int   // items that had come before
	Gap        bool  // what comes before the batch is missing, nothing of it was stored
	Err        error // why nothing of it was stored or ever will be: ErrRange, ErrEpochs
}

// Hole is a span of records that a device said will never come.
type Hole struct {
	Device                  string
	Epoch, First, Last      uint64
	Pass, Fail, None, Other uint64 // beyond what had come of the span
	Reason                  string
	Received                time.Time
}

// Totals count what a device, or all of them, sent.
type Totals struct {
	Results          uint64
	Pass, Fail, None uint64 // as told
	Holes            uint64 // records that holes stand for
	Unreadable       uint64 // items set aside, see Set aside in docs/sync.md
}

// User is a person who may log in.
type User struct {
	Name    string
	Role    auth.Role
	Hash    string // of the password, PHC string
	Created time.Time
}

// Session is a login on the pages. Key is the SHA-256 of its cookie.
type Session struct {
	Key     [32]byte
	User    string
	Role    auth.Role
	Begun   time.Time
	Expires time.Time
}

// APIToken lets a program in. Key is the SHA-256 of its secret.
type APIToken struct {
	Key     [32]byte
	Name    string
	User    string // whose it is
	Role    auth.Role
	Created time.Time
	Expires time.Time // zero: never
}

// EnrolToken lets one device in, once. Key is the SHA-256 of its secret.
type EnrolToken struct {
	Key     [32]byte
	Group   string
	Created time.Time
	Expires time.Time
	UsedBy  string // device; "" while it is good
}
