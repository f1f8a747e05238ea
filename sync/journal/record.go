package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Layout of a value, little-endian: CRC32C u32 of the key and everything
// after it, kind u8, for an amendment the number u64 of what it amends, body.
const (
	headerSize          = 5
	kindRecord     byte = 1
	kindAmendment  byte = 2
	amendmentExtra      = 8
)

// Row is one record as it is read. The bytes belong to the caller.
type Row struct {
	Seq    uint64
	Body   []byte
	Amend  []byte // from Query: the last record that amends it; nil without
	Amends uint64 // from After: the number of the record that this one amends; 0 if none
}

var errDamaged = errors.New("the record on disk is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum covers the key too, so that a value under a wrong key is seen.
func sum(seq uint64, v []byte) uint32 {
	var k [8]byte
	binary.BigEndian.PutUint64(k[:], seq)
	return crc32.Update(crc32.Checksum(k[:], castagnoli), castagnoli, v[4:])
}

func seal(seq uint64, kind byte, amends uint64, body []byte) []byte {
	v := make([]byte, headerSize, headerSize+amendmentExtra+len(body))
	v[4] = kind
	if kind == kindAmendment {
		v = binary.LittleEndian.AppendUint64(v, amends)
	}
	v = append(v, body...)
	binary.LittleEndian.PutUint32(v, sum(seq, v))
	return v
}

// unseal checks a value and copies its body, because v is mapped memory.
func unseal(seq uint64, v []byte) (Row, error) {
	e, err := parse(seq, v)
	if err == nil {
		e.Body = append([]byte{}, e.Body...)
	}
	return e, err
}

// open checks a value of that kind and gives its body, which is part of v.
func open(seq uint64, v []byte, kind byte) ([]byte, error) {
	if len(v) < headerSize || binary.LittleEndian.Uint32(v) != sum(seq, v) || v[4] != kind {
		return nil, errDamaged
	}
	return v[headerSize:], nil
}

// parse is unseal without the copy: Body is part of v.
func parse(seq uint64, v []byte) (Row, error) {
	if len(v) < headerSize || binary.LittleEndian.Uint32(v) != sum(seq, v) {
		return Row{}, fmt.Errorf("record %d: %w: its checksum differs", seq, errDamaged)
	}
	e := Row{Seq: seq}
	rest := v[headerSize:]
	switch kind := v[4]; {
	case kind == kindRecord:
	case kind == kindAmendment && len(rest) >= amendmentExtra:
		e.Amends = binary.LittleEndian.Uint64(rest)
		rest = rest[amendmentExtra:]
	default:
		return Row{}, fmt.Errorf("record %d: %w: its kind is %d", seq, errDamaged, kind)
	}
	e.Body = rest
	return e, nil
}
