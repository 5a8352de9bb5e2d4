package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A self-signed certificate is good for a year from the start of the process. It begins an hour early, for clients
// whose clocks are behind.
const (
	selfSignedLifetime = 365 * 24 * time.Hour
	selfSignedBackdate = time.Hour
)

// selfSigned makes a certificate for the time until the next start, and writes it to CertOut if asked. Its key stays
// in memory. Each replica makes its own, so clients that check it can talk to one replica only: it is meant for trials
// and for connections that are protected otherwise.
func selfSigned(options TLSOptions, now time.Time, expires func(time.Time)) (certificates, error) {
	hosts := options.Hosts
	if len(hosts) == 0 {
		hosts = []string{"localhost"}
	}
	certificate, err := newSelfSigned(hosts, now)
	if err != nil {
		return certificates{}, fmt.Errorf("making a self-signed TLS certificate for %q: %w; check the host names, or "+
			"set a certificate file and a key file", hosts, err)
	}
	if options.CertOut != "" {
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Leaf.Raw})
		if err := replaceFile(options.CertOut, block); err != nil {
			return certificates{}, fmt.Errorf("writing the self-signed TLS certificate to %s: %w; make its directory "+
				"writable, such as with an emptyDir volume, or do not ask for the file", options.CertOut, err)
		}
	}
	expires(certificate.Leaf.NotAfter)
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }
	return certificates{get: get}, nil
}

// newSelfSigned makes an ECDSA P-256 key and a certificate that it signs itself. The certificate is no authority, so
// whoever trusts it trusts this server and nothing that its key could sign.
func newSelfSigned(hosts []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating an ECDSA key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "keyturn"},
		NotBefore:             now.Add(-selfSignedBackdate),
		NotAfter:              now.Add(selfSignedLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("parsing the certificate just made: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}, nil
}

// replaceFile writes a file that others read: they see the old content or the new, never a part.
func replaceFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // fails after the rename, when there is nothing to remove
	_, err = file.Write(content)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
