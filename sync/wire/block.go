package wire

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of a Block.
const (
	blockTid   = 1
	blockIndex = 2
	blockSize  = 3
	blockData  = 4
	blockFault = 5
	blockText  = 6
)

// UnmarshalBlock is Unmarshal for a Block whose data stays where it is in b,
// which must not change after that.
func UnmarshalBlock(b []byte) (*Block, error) {
	if len(b) > maxMessage {
		return nil, fmt.Errorf("decode a Block: it has %d bytes, at most %d will do", len(b), maxMessage)
	}
	out := new(Block)
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, fmt.Errorf("decode a Block: %w", protowire.ParseError(n))
		}
		b = b[n:]
		var (
			number uint64
			text   []byte
		)
		switch {
		case field == blockTid && kind == protowire.Fixed32Type:
			out.Tid, n = protowire.ConsumeFixed32(b)
		case kind == protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case kind == protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return nil, fmt.Errorf("decode a Block: %w", protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case kind == protowire.VarintType && field == blockIndex:
			out.Index = uint32(number)
		case kind == protowire.VarintType && field == blockSize:
			out.Size = number
		case kind == protowire.VarintType && field == blockFault:
			out.Fault = Block_Fault(number)
		case kind == protowire.BytesType && field == blockData:
			out.Data = text
		case kind == protowire.BytesType && field == blockText:
			if !utf8.Valid(text) {
				return nil, fmt.Errorf("decode a Block: its text is no UTF-8")
			}
			out.Text = string(text)
		}
	}
	return out, nil
}
