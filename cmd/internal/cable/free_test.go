package cable

import (
	"net"
	"testing"
)

func TestFreeAddress(t *testing.T) {
	for range 20 {
		address, err := FreeAddress("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if port := ln.Addr().(*net.TCPAddr).Port; port >= 32768 {
			t.Errorf("port %d is one that any connection may get", port)
		}
	}
	if address, err := FreeAddress("192.0.2.1"); err == nil {
		t.Errorf("%s is free, which isn't ours", address)
	}
}
