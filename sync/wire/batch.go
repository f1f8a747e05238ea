package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Limits of a batch.
const (
	MaxBatchItems = 512     // records and holes
	MaxBatchBytes = 4 << 20 // of its items before they are compressed

	// What is sent may grow to so much and no more when it is read, so that a
	// small message costs little. A batch of 512 equal results shrinks by 600,
	// one record of equal bytes by 2,900: what would shrink too well is padded.
	freeBytes  = 64 << 10
	mostGrowth = 128
)

// allowance is how much so many compressed bytes may stand for.
func allowance(sent int) int { return freeBytes + mostGrowth*sent }

// Layout of a batch, little-endian: encoding u8, epoch u64, number of the first
// record u64, count of items u16, then the items as the encoding says: each the
// bytes of a Record.
const (
	batchHeader = 1 + 8 + 8 + 2

	encodingPlain byte = 0 // each its length as a varint, then its bytes
	encodingZstd  byte = 1 // results delta-coded (delta.go), by columns (columns.go), zstd (RFC 8878) with dictionary 1
)

const (
	holeField   = 3       // of a Record
	maxHoleBody = 4 << 10 // bytes of a Record that is a hole
)

// Hole reasons: why records will never come.
const (
	HoleRetention    = "retention"     // dropped for room before the fleet had them
	HoleDamaged      = "damaged"       // unreadable on the device's disk
	HoleGone         = "gone"          // no longer there, and nobody kept count
	HoleEarlierEpoch = "earlier_epoch" // told under the epoch before this one
)

// Item is a record, or a hole, in a journal's sequence.
type Item struct {
	First, Last uint64 // numbers that it stands for: one for a record, a span for a hole
	Body        []byte // of a Record
}

// NewHole is the item that stands for a hole.
func NewHole(h *Hole) (Item, error) {
	if h.GetFirst() == 0 || h.GetLast() < h.GetFirst() {
		return Item{}, fmt.Errorf("a hole from %d to %d holds nothing", h.GetFirst(), h.GetLast())
	}
	b, err := Encode(&Record{Kind: &Record_Hole{Hole: h}})
	return Item{First: h.GetFirst(), Last: h.GetLast(), Body: b}, err
}

// Batch is a piece of a journal's sequence: items that follow each other
// without a gap.
type Batch struct {
	Epoch uint64
	Items []Item
}

// First and Last are the numbers that the batch begins and ends with; 0 for
// one without items.
func (b *Batch) First() uint64 {
	if len(b.Items) == 0 {
		return 0
	}
	return b.Items[0].First
}

// Last is the highest number that the batch covers.
func (b *Batch) Last() uint64 {
	if len(b.Items) == 0 {
		return 0
	}
	return b.Items[len(b.Items)-1].Last
}

var errBatch = errors.New("no batch of records")

// EncodeBatch gives the batch's bytes as they are sent: what DecodeBatch takes.
func EncodeBatch(b *Batch) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("encode a batch: %w", err)
	}
	items, size := uncompressed(b)
	if size > MaxBatchBytes {
		return nil, fmt.Errorf("encode a batch: its items have %d bytes, at most %d will do", size, MaxBatchBytes)
	}
	sent := compress(b.head(encodingZstd, len(items)/2), items)
	return pad(sent, max(size, len(items)), len(sent)-batchHeader), nil
}

// EncodePlain is EncodeBatch without anything that could go wrong in making
// the batch smaller.
func EncodePlain(b *Batch) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("encode a batch plainly: %w", err)
	}
	out := b.head(encodingPlain, 0)
	for i := range b.Items {
		out = binary.AppendUvarint(out, uint64(len(b.Items[i].Body)))
		out = append(out, b.Items[i].Body...)
	}
	return out, nil
}

// check reports what DecodeBatch wouldn't give back as it is.
func (b *Batch) check() error {
	if n := len(b.Items); n == 0 || n > MaxBatchItems {
		return fmt.Errorf("it has %d items, 1 to %d will do", n, MaxBatchItems)
	}
	next := b.First()
	for i := range b.Items {
		it := &b.Items[i]
		if it.First != next || it.First == 0 || it.Last < it.First || it.Last == math.MaxUint64 {
			return fmt.Errorf("item %d covers %d to %d, expected from %d", i, it.First, it.Last, next)
		}
		if len(it.Body) > MaxRecord {
			return fmt.Errorf("item %d has %d bytes, at most %d will do", i, len(it.Body), MaxRecord)
		}
		first, last := it.First, it.First
		if h := holeIn(it.Body); h != nil {
			first, last = h.GetFirst(), h.GetLast()
		}
		if first != it.First || last != it.Last {
			return fmt.Errorf("item %d covers %d to %d, its record %d to %d", i, it.First, it.Last, first, last)
		}
		next = it.Last + 1
	}
	return nil
}

// head begins the bytes of a batch, with room for so many more.
func (b *Batch) head(encoding byte, room int) []byte {
	head := make([]byte, batchHeader, batchHeader+room)
	head[0] = encoding
	binary.LittleEndian.PutUint64(head[1:], b.Epoch)
	binary.LittleEndian.PutUint64(head[9:], b.First())
	binary.LittleEndian.PutUint16(head[17:], uint16(len(b.Items)))
	return head
}

// uncompressed is the batch's items by columns, before they are compressed, and
// how many bytes they have as records.
func uncompressed(b *Batch) (items []byte, size int) {
	var d delta
	var c columns
	for i := range b.Items {
		body := d.encode(b.Items[i].Body)
		size += max(len(body), len(b.Items[i].Body))
		c.add(body)
	}
	return c.bytes(), size
}

// DecodeBatch reads a batch, which may come from anywhere. An item that is no
// Record stands for one number all the same, its body as it came, so that one
// bad record holds up no others; what breaks the frame is an error.
func DecodeBatch(raw []byte) (*Batch, error) {
	if len(raw) < batchHeader {
		return nil, fmt.Errorf("decode a batch: %w: it has %d bytes", errBatch, len(raw))
	}
	b := &Batch{Epoch: binary.LittleEndian.Uint64(raw[1:])}
	first, count := binary.LittleEndian.Uint64(raw[9:]), int(binary.LittleEndian.Uint16(raw[17:]))
	if count == 0 || count > MaxBatchItems || first == 0 {
		return nil, fmt.Errorf("decode a batch: %w: %d items from number %d", errBatch, count, first)
	}
	bodies, err := split(raw[0], raw[batchHeader:], count)
	if err != nil {
		return nil, fmt.Errorf("decode a batch: %w: %w", errBatch, err)
	}
	for i, body := range bodies {
		it := Item{First: first, Last: first, Body: body}
		if h := holeIn(body); h != nil {
			if h.GetFirst() != first || h.GetLast() < first {
				return nil, fmt.Errorf("decode a batch: %w: item %d is a hole from %d to %d, expected from %d",
					errBatch, i, h.GetFirst(), h.GetLast(), first)
			}
			it.Last = h.GetLast()
		}
		if it.Last == math.MaxUint64 {
			return nil, fmt.Errorf("decode a batch: %w: item %d ends beyond every number", errBatch, i)
		}
		first = it.Last + 1
		b.Items = append(b.Items, it)
	}
	return b, nil
}

// split gives the bodies of count items.
func split(encoding byte, b []byte, count int) ([][]byte, error) {
	switch encoding {
	case encodingPlain:
		return splitPlain(b, count)
	case encodingZstd:
		most := allowance(len(b))
		raw, err := decompress(b, most)
		if err != nil {
			return nil, err
		}
		bodies, err := joinColumns(raw, count, min(most, MaxBatchBytes))
		var d delta
		for i := range bodies {
			bodies[i] = d.decode(bodies[i])
		}
		return bodies, err
	}
	return nil, fmt.Errorf("its encoding is %d", encoding)
}

func splitPlain(b []byte, count int) ([][]byte, error) {
	var bodies [][]byte
	for i := range count {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > MaxRecord || n > uint64(len(b)-w) {
			return nil, fmt.Errorf("item %d is cut", i)
		}
		bodies = append(bodies, append([]byte{}, b[w:w+int(n)]...))
		b = b[w+int(n):]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%d bytes too many", len(b))
	}
	return bodies, nil
}

// holeIn is the hole that the body is, nil for others. Results, which are most,
// are told apart without decoding them.
func holeIn(body []byte) *Hole {
	may := false
	for b := body; len(b) > 0 && !may; {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		may = field == holeField
		if b = b[n:]; !may {
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return nil
			}
			b = b[n:]
		}
	}
	if !may || len(body) > maxHoleBody {
		return nil
	}
	r := new(Record)
	if proto.Unmarshal(body, r) != nil {
		return nil
	}
	return r.GetHole()
}
