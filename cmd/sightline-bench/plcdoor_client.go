package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// asciiAnswer is about the bytes of an answer.
const asciiAnswer = len("R plc-ascii-0000 PASS ok\r\n")

// asciiClient speaks lines.
type asciiClient struct {
	conn  net.Conn
	lines *bufio.Reader
}

func dialASCII(ctx context.Context, addr string) (*asciiClient, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("come to the ASCII door: %w", err)
	}
	c := &asciiClient{conn, bufio.NewReader(conn)}
	return c, await(ctx, c.status)
}

// status tells whether the door promises a verdict; right after the agent's start it
// waits for the first heartbeats.
func (c *asciiClient) status() bool {
	if _, err := io.WriteString(c.conn, "S\r\n"); err != nil {
		return false
	}
	line, err := c.lines.ReadString('\n')
	return err == nil && strings.HasPrefix(line, "S READY ")
}

func (c *asciiClient) inspect(id string) (float64, error) {
	if err := c.conn.SetDeadline(time.Now().Add(doorPatience)); err != nil {
		return 0, err
	}
	var line string
	ms, err := took(func() (err error) {
		if _, err = io.WriteString(c.conn, "T "+id+"\r\n"); err == nil {
			line, err = c.lines.ReadString('\n')
		}
		return err
	})
	if err == nil && !strings.HasPrefix(line, "R "+id+" ") {
		err = fmt.Errorf("the door answers %q", line)
	}
	return ms, err
}

// Modbus as docs/plc.md has it.
const (
	modbusPause   = 250 * time.Microsecond // from an answer to the next read
	modbusInputs  = 81                     // input registers
	modbusAnswer  = 9 + 2*modbusInputs     // bytes of a read of all of them
	modbusIDAt    = 16                     // of input and holding registers
	modbusIDWords = 32
	modbusReady   = 1 << 1 // bits of input register 0
	modbusValid   = 1 << 4
	modbusTrigger = 1 << 0 // bits of holding register 0
	modbusAck     = 1 << 1
)

// modbusClient speaks Modbus TCP.
type modbusClient struct {
	conn net.Conn
	next uint16 // number of the request
}

func dialModbus(ctx context.Context, addr string) (*modbusClient, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("come to the Modbus door: %w", err)
	}
	return &modbusClient{conn: conn}, nil
}

// ask sends one request and gives the answer's data behind the function.
func (c *modbusClient) ask(function byte, data []byte) ([]byte, error) {
	c.next++
	frame := binary.BigEndian.AppendUint16(nil, c.next)
	frame = binary.BigEndian.AppendUint16(frame, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(2+len(data)))
	frame = append(append(frame, 1, function), data...)
	if _, err := c.conn.Write(frame); err != nil {
		return nil, err
	}
	head := make([]byte, 8)
	if _, err := io.ReadFull(c.conn, head); err != nil {
		return nil, err
	}
	rest := make([]byte, max(int(binary.BigEndian.Uint16(head[4:]))-2, 0))
	if _, err := io.ReadFull(c.conn, rest); err != nil {
		return nil, err
	}
	if head[7] != function || binary.BigEndian.Uint16(head) != c.next {
		return nil, fmt.Errorf("the door answers function %d with %d: % x", function, head[7], rest)
	}
	return rest, nil
}

// write sets holding registers from 0.
func (c *modbusClient) write(words []uint16) error {
	data := binary.BigEndian.AppendUint16(nil, 0)
	data = binary.BigEndian.AppendUint16(data, uint16(len(words)))
	data = append(data, byte(2*len(words)))
	for _, w := range words {
		data = binary.BigEndian.AppendUint16(data, w)
	}
	_, err := c.ask(16, data)
	return err
}

// await reads all registers again and again until the status is so.
func (c *modbusClient) await(is func(status uint16) bool) (registers []byte, err error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		answer, err := c.ask(4, []byte{0, 0, 0, modbusInputs})
		if err != nil {
			return nil, err
		}
		if len(answer) != 1+2*modbusInputs {
			return nil, fmt.Errorf("the door gives %d bytes of registers", len(answer))
		}
		if is(binary.BigEndian.Uint16(answer[1:])) {
			return answer[1:], nil
		}
		<-timer.C
		timer.Reset(modbusPause)
	}
}

func (c *modbusClient) inspect(id string) (float64, error) {
	if err := c.conn.SetDeadline(time.Now().Add(doorPatience)); err != nil {
		return 0, err
	}
	if _, err := c.await(func(s uint16) bool { return s&modbusReady != 0 }); err != nil {
		return 0, fmt.Errorf("wait for Trigger Ready: %w", err)
	}
	words := make([]uint16, modbusIDAt+modbusIDWords)
	words[0] = modbusTrigger
	name := make([]byte, 2*modbusIDWords)
	copy(name, id)
	for n := range modbusIDWords {
		words[modbusIDAt+n] = binary.BigEndian.Uint16(name[2*n:])
	}
	var registers []byte
	ms, err := took(func() (err error) {
		if err = c.write(words); err == nil {
			registers, err = c.await(func(s uint16) bool { return s&modbusValid != 0 })
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if got := strings.TrimRight(string(registers[2*modbusIDAt:2*(modbusIDAt+modbusIDWords)]), "\x00"); got != id {
		return 0, fmt.Errorf("the result is of %q, want %q", got, id)
	}
	if err := c.write([]uint16{modbusAck}); err != nil {
		return 0, err
	}
	if _, err := c.await(func(s uint16) bool { return s&modbusValid == 0 }); err != nil {
		return 0, fmt.Errorf("acknowledge: %w", err)
	}
	return ms, c.write([]uint16{0})
}
