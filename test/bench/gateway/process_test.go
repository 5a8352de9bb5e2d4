package gateway

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// certificateFiles is the folder of a certificate and its key in PEM.
type certificateFiles string

func (c certificateFiles) certificate() string { return filepath.Join(string(c), "tls.crt") }
func (c certificateFiles) key() string         { return filepath.Join(string(c), "tls.key") }

func (c certificateFiles) read(b *testing.B) []byte {
	b.Helper()
	content, err := os.ReadFile(c.certificate())
	if err != nil {
		b.Fatal(err)
	}
	return content
}

func newCertificate(b *testing.B) certificateFiles {
	b.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		b.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		b.Fatal(err)
	}
	files := certificateFiles(b.TempDir())
	for file, block := range map[string]*pem.Block{
		files.certificate(): {Type: "CERTIFICATE", Bytes: certificate},
		files.key():         {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return files
}

// running is a server in a process of its own. It ends when its standard input does.
type running struct {
	address string
	tokens  []string
	ask     io.Writer
	answers *json.Decoder
}

// ready is what the process says first.
type ready struct {
	Address string
	// Tokens are those that it finds good. None for a bare server.
	Tokens []string
}

func startServer(b *testing.B, kind string, certificate certificateFiles, procs int) *running {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	// It ends by itself, and the context of the benchmark ends before its clean-up.
	command := exec.CommandContext(context.WithoutCancel(b.Context()), self)
	command.Env = append(os.Environ(), serverVariable+"="+kind, certificateVariable+"="+string(certificate),
		fmt.Sprintf("GOMAXPROCS=%d", procs))
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = input.Close()
		if err := command.Wait(); err != nil {
			b.Errorf("the server %s: %v", kind, err)
		}
	})
	server := &running{ask: input, answers: json.NewDecoder(bufio.NewReader(output))}
	var first ready
	if err := server.answers.Decode(&first); err != nil {
		b.Fatalf("the server %s does not start: %v", kind, err)
	}
	server.address, server.tokens = first.Address, first.Tokens
	return server
}

// cpu is the CPU time that the process has used since its start.
func (r *running) cpu(b *testing.B) time.Duration {
	b.Helper()
	if _, err := io.WriteString(r.ask, "cpu\n"); err != nil {
		b.Fatal(err)
	}
	var used time.Duration
	if err := r.answers.Decode(&used); err != nil {
		b.Fatal(err)
	}
	return used
}
