package server

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestForwardedClient(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "203.0.113.9:1", nil, "203.0.113.9"},
		{"a peer that is not trusted", "203.0.113.9:1", []string{"1.2.3.4"}, "203.0.113.9"},
		{"one proxy", "10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"what the client claims", "10.0.0.1:1", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", "10.0.0.1:1", []string{"1.2.3.4, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"two lines", "10.0.0.1:1", []string{"1.2.3.4,203.0.113.9", "10.0.0.2 , 10.0.0.3"}, "203.0.113.9"},
		{"only proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a trusted peer alone", "10.0.0.1:1", nil, "10.0.0.1"},
		{"an unreadable element", "10.0.0.1:1", []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"an empty list", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"with a port", "10.0.0.1:1", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"IPv6", "[fd00::1]:1", []string{"2001:db8::9"}, "2001:db8::9"},
		{"IPv6 with a port", "[fd00::1%eth0]:1", []string{"[2001:db8::9]:4711"}, "2001:db8::9"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"no peer", "@", []string{"203.0.113.9"}, "invalid IP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: test.peer, Header: http.Header{"X-Forwarded-For": test.forwarded}}
			if got := (forwarding{trusted}).client(r).String(); got != test.want {
				t.Errorf("client %s, want %s", got, test.want)
			}
		})
	}
}

func TestForwardedHost(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, test := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"10.0.0.1:1", nil, "direct"},
		{"10.0.0.1:1", []string{"a"}, "a"},
		{"10.0.0.1:1", []string{"a, b"}, "b"},
		{"10.0.0.1:1", []string{"a", "b"}, "b"},
		{"203.0.113.9:1", []string{"a"}, "direct"},
	} {
		r := &http.Request{Host: "direct", RemoteAddr: test.peer, Header: http.Header{"X-Forwarded-Host": test.forwarded}}
		if got := (forwarding{trusted}).host(r); got != test.want {
			t.Errorf("%s %q: host %s, want %s", test.peer, test.forwarded, got, test.want)
		}
	}
}
