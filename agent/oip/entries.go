package oip

import (
	"bytes"
	"iter"
)

// entries gives the text of each entry of an array. The array is valid JSON; a decoder
// would copy it.
func entries(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		start, depth := 1, 0
		for at := 1; at < len(text); at++ {
			switch text[at] {
			case '"':
				for at++; text[at] != '"'; at++ {
					if text[at] == '\\' {
						at++
					}
				}
				continue
			case '[', '{':
				depth++
				continue
			case ']', '}':
				if depth--; depth >= 0 {
					continue
				}
			case ',':
				if depth > 0 {
					continue
				}
			default:
				continue
			}
			if entry := bytes.TrimSpace(text[start:at]); len(entry) > 0 && !yield(entry) {
				return
			}
			start = at + 1
		}
	}
}
