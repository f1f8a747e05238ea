package picture

import "encoding/binary"

// tagOrientation is EXIF's (and TIFF's) tag 274.
const tagOrientation = 0x0112

// jpegEXIF finds the APP1 segment "Exif" before the picture's data.
func jpegEXIF(data []byte) []byte {
	for p := 2; p+4 <= len(data) && data[p] == 0xff; {
		marker := data[p+1]
		if marker == 0xff { // a fill byte
			p++
			continue
		}
		if marker == 0xda || marker == 0xd9 {
			return nil
		}
		n := int(binary.BigEndian.Uint16(data[p+2:]))
		if n < 2 || p+2+n > len(data) {
			return nil
		}
		body := data[p+4 : p+2+n]
		if marker == 0xe1 && len(body) > 6 && string(body[:6]) == "Exif\x00\x00" {
			return body[6:]
		}
		p += 2 + n
	}
	return nil
}

// pngEXIF finds the eXIf chunk.
func pngEXIF(data []byte) []byte {
	for p := 8; p+12 <= len(data); {
		n := int(binary.BigEndian.Uint32(data[p:]))
		if n > len(data)-p-12 {
			return nil
		}
		if string(data[p+4:p+8]) == "eXIf" {
			return data[p+8 : p+8+n]
		}
		p += 12 + n
	}
	return nil
}

// orientation reads tag 274 of the first directory, 1 where there is none or
// it makes no sense.
func orientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 1
	}
	dir := tiff[at:]
	n := int(order.Uint16(dir))
	for i := 0; i < n && 2+12*(i+1) <= len(dir); i++ {
		e := dir[2+12*i:]
		if order.Uint16(e) != tagOrientation {
			continue
		}
		if v := int(order.Uint16(e[8:])); v >= 1 && v <= 8 {
			return v
		}
		return 1
	}
	return 1
}

// turn copies the stored BGR picture of w×h upright into dst, as the EXIF
// orientation 2 to 8 asks.
func turn(dst, src []byte, w, h, orient int) {
	at, dx, dy := 0, 0, 0 // where the stored pixel 0,0 goes; steps for one column and one row
	switch orient {
	case 2: // mirrored
		at, dx, dy = w-1, -1, w
	case 3: // half a turn
		at, dx, dy = w*h-1, -1, -w
	case 4: // upside down
		at, dx, dy = w*(h-1), 1, -w
	case 5: // transposed
		at, dx, dy = 0, h, 1
	case 6: // a quarter clockwise
		at, dx, dy = h-1, h, -1
	case 7: // transposed about the other diagonal
		at, dx, dy = w*h-1, -h, -1
	case 8: // a quarter counter-clockwise
		at, dx, dy = h*(w-1), -h, 1
	}
	for y := range h {
		row := src[y*w*3 : (y+1)*w*3]
		p := (at + y*dy) * 3
		for x := 0; x+2 < len(row); x += 3 {
			dst[p], dst[p+1], dst[p+2] = row[x], row[x+1], row[x+2]
			p += dx * 3
		}
	}
}
