package plc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// Sizes of a frame. Specification: MODBUS Messaging on TCP/IP Implementation
// Guide V1.0b ("TCP"), clause 3.1.3, and MODBUS Application Protocol V1.1b3
// ("APP"), clause 4.1: a PDU has at most 253 bytes.
const (
	mbapSize    = 7 // transaction, protocol, length, unit
	maxPDU      = 253
	frameWithin = 2 * time.Second // for the rest of a frame, once it has begun
)

// errFrame means that the stream can't be followed any more.
var errFrame = errors.New("not a Modbus TCP frame")

// frame is one request. Its PDU is valid until the next is read.
type frame struct {
	transaction, protocol uint16
	unit                  byte
	pdu                   []byte
}

// frames reads requests from a connection and writes their responses. It needs
// less than a kilobyte whatever comes.
type frames struct {
	conn net.Conn
	in   *bufio.Reader
	out  [mbapSize + maxPDU]byte
	pdu  [maxPDU]byte
}

func newFrames(conn net.Conn) *frames {
	return &frames{conn: conn, in: bufio.NewReaderSize(conn, 2*(mbapSize+maxPDU))}
}

// next reads one frame, however TCP cut it. A length that can't be leaves no way
// to find the next one (TCP 3.1.3); so does a frame that doesn't go on.
func (f *frames) next() (frame, error) {
	if _, err := f.in.Peek(1); err != nil { // as long as it likes
		return frame{}, err
	}
	head, err := f.peek(mbapSize)
	if err != nil {
		return frame{}, err
	}
	fr := frame{
		transaction: binary.BigEndian.Uint16(head),
		protocol:    binary.BigEndian.Uint16(head[2:]),
		unit:        head[6],
	}
	length := int(binary.BigEndian.Uint16(head[4:])) // of unit and PDU
	if length < 2 || length > 1+maxPDU {
		return frame{}, fmt.Errorf("%w: its length is %d, from 2 to %d is possible", errFrame, length, 1+maxPDU)
	}
	whole, err := f.peek(mbapSize - 1 + length)
	if err != nil {
		return frame{}, err
	}
	fr.pdu = f.pdu[:copy(f.pdu[:], whole[mbapSize:])]
	if _, err := f.in.Discard(len(whole)); err != nil {
		return frame{}, err
	}
	return fr, nil
}

func (f *frames) peek(n int) ([]byte, error) {
	if f.in.Buffered() < n {
		_ = f.conn.SetReadDeadline(time.Now().Add(frameWithin)) // it fails only on what is closed
		defer func() { _ = f.conn.SetReadDeadline(time.Time{}) }()
	}
	return f.in.Peek(n)
}

// reply sends a response with the request's transaction and unit (TCP 3.1.3).
func (f *frames) reply(to frame, pdu []byte) error {
	binary.BigEndian.PutUint16(f.out[:], to.transaction)
	binary.BigEndian.PutUint16(f.out[2:], 0)
	binary.BigEndian.PutUint16(f.out[4:], uint16(1+len(pdu)))
	f.out[6] = to.unit
	n := copy(f.out[mbapSize:], pdu)
	if err := f.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	_, err := f.conn.Write(f.out[:mbapSize+n])
	return err
}
