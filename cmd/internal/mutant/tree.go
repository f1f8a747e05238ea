package mutant

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// message is a message of ONNX's, as far as its fields are known here.
type message uint8

const (
	_ message = iota
	modelMessage
	graphMessage
	nodeMessage
	attrMessage
	tensorMessage
	entryMessage
	infoMessage
	typeMessage
	shapedMessage
	shapeMessage
	dimMessage
	opsetMessage
)

type place struct {
	in message
	at protowire.Number
}

// inner are the fields that are messages themselves.
var inner = map[place]message{
	{modelMessage, modelGraph}: graphMessage, {modelMessage, 8}: opsetMessage,
	{graphMessage, graphNode}: nodeMessage, {graphMessage, graphInitializer}: tensorMessage,
	{graphMessage, graphInput}: infoMessage, {graphMessage, graphOutput}: infoMessage, {graphMessage, 13}: infoMessage,
	{nodeMessage, nodeAttr}: attrMessage, {attrMessage, 5}: tensorMessage, {attrMessage, attrGraph}: graphMessage,
	{tensorMessage, 13}: entryMessage,
	{infoMessage, 2}:    typeMessage, {typeMessage, 1}: shapedMessage, {shapedMessage, 2}: shapeMessage, {shapeMessage, 1}: dimMessage,
}

// leaf is a field that holds no message.
type leaf struct {
	place
	field
}

// edit gives the message with every leaf that change gives something else for.
func edit(b []byte, m message, change func(leaf) field) ([]byte, error) {
	fields, err := split(b)
	if err != nil {
		return nil, err
	}
	for n, f := range fields {
		at := place{m, f.num}
		if sub := inner[at]; sub != 0 && f.typ == protowire.BytesType {
			val, err := edit(f.val, sub, change)
			if err != nil {
				return nil, err
			}
			fields[n] = bytesField(f.num, val)
			continue
		}
		fields[n] = change(leaf{at, f})
	}
	return join(fields), nil
}

// editSome changes so many of the leaves that are eligible, which pick chooses.
func editSome(b []byte, count int, pick func(n int) int, eligible func(leaf) bool, change func(leaf) field) ([]byte, error) {
	all := 0
	_, err := edit(b, modelMessage, func(l leaf) field {
		if eligible(l) {
			all++
		}
		return l.field
	})
	if err != nil || all == 0 {
		return b, err
	}
	chosen := map[int]bool{}
	for range count {
		chosen[pick(all)] = true
	}
	n := -1
	return edit(b, modelMessage, func(l leaf) field {
		if eligible(l) {
			if n++; chosen[n] {
				return change(l)
			}
		}
		return l.field
	})
}
