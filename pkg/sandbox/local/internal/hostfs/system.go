package hostfs

import (
	"os"
	"path"
	"strings"
	"syscall"
)

// system shows the folders of the operating system. Where they are symbolic links (/bin -> usr/bin) they stay links.
func (b *builder) system() {
	tops := []string{"/usr", "/bin", "/sbin"}
	for _, e := range b.host.list("/") {
		if strings.HasPrefix(e.Name(), "lib") { // lib, lib32, lib64, libx32
			tops = append(tops, "/"+e.Name())
		}
	}
	for _, p := range append(tops, "/nix/store", "/gnu/store") {
		if b.host.isDir(p) {
			b.bind(p)
		}
	}
	// Image-based systems keep /usr/local elsewhere (/var/usrlocal).
	if b.host.isDir("/usr/local") {
		b.bind("/usr/local")
	}
	b.opt()
}

// opt shows /opt. Where an ordinary user owns folders in it those are left out, because the user's sandboxes could read
// what only the user may (a CI runner keeps its credentials in such a folder); toolchains in them come by PATH.
func (b *builder) opt() {
	if !b.host.isDir("/opt") {
		return
	}
	var foreign, own []string
	for _, e := range b.host.list("/opt") {
		info, err := b.host.stat("/opt/" + e.Name())
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); b.env.UID != 0 && ok && int(st.Uid) == b.env.UID {
			own = append(own, "/opt/"+e.Name())
		} else {
			foreign = append(foreign, "/opt/"+e.Name())
		}
	}
	if len(own) == 0 {
		b.bind("/opt")
		return
	}
	for _, p := range foreign {
		b.bind(p)
	}
}

// etcFiles are copied from /etc where everybody may read them: what the C library, TLS, and language runtimes look up.
// Nothing that names the host's users, machine or credentials (npmrc, pip.conf, gitconfig, environment, machine-id).
var etcFiles = strings.Fields(`ld.so.cache ld.so.conf ld-musl-x86_64.path ld-musl-aarch64.path
	localtime timezone os-release lsb-release debian_version redhat-release fedora-release alpine-release arch-release
	mime.types magic services protocols networks gai.conf host.conf locale.alias locale.conf inputrc shells
	ssl/openssl.cnf ssl/cert.pem pki/tls/openssl.cnf pki/tls/cert.pem gnutls/config maven/m2.conf`)

// etcDirs are shown as they are; what in them only root may read stays unreadable.
var etcDirs = strings.Fields(`alternatives ld.so.conf.d ssl/certs pki/tls/certs pki/ca-trust/extracted ca-certificates/extracted
	crypto-policies fonts terminfo perl R dotnet mono ImageMagick-6 ImageMagick-7 maven/logging`)

// etcPatterns are folders whose name starts like this: java-17-openjdk, python3.11, php.
var etcPatterns = []string{"java-", "python3", "php"}

const (
	passwd = "root:x:0:0:root:/workspace:/bin/sh\n" +
		UserName + ":x:1000:1000:" + UserName + ":/workspace:/bin/sh\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
	group = "root:x:0:\n" + UserName + ":x:1000:\nnogroup:x:65534:\n"
	hosts = "127.0.0.1\tlocalhost " + HostName + "\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	// nsswitch asks nobody who is not in the sandbox.
	nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n" +
		"protocols: files\nservices: files\nethers: files\nrpc: files\n"
)

func (b *builder) etc() {
	for _, d := range etcDirs {
		b.etcDir("/etc/" + d)
	}
	for _, e := range b.host.list("/etc") {
		for _, prefix := range etcPatterns {
			if strings.HasPrefix(e.Name(), prefix) {
				b.etcDir("/etc/" + e.Name())
			}
		}
	}
	for _, name := range etcFiles {
		b.copy("/etc/" + name)
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group, "hosts": hosts, "nsswitch.conf": nsswitch, "hostname": HostName + "\n"} {
		b.file("/etc/"+name, []byte(text))
	}
	b.links["/etc/mtab"] = "/proc/self/mounts"
	if b.env.HostNetwork {
		for _, p := range []string{"/etc/resolv.conf", "/etc/hosts"} {
			if data, err := b.host.read(p); err == nil {
				b.file(p, data)
			}
		}
	}
}

func (b *builder) etcDir(p string) {
	if b.host.isDir(p) && len(b.host.list(p)) > 0 {
		b.bind(p)
	}
}

// copy takes a file's content, or the link where it leads to something that is shown.
func (b *builder) copy(p string) {
	real, met, _, err := b.host.resolve(p)
	if err != nil {
		return
	}
	if real != p && b.covered(real) && !b.covered(path.Dir(p)) {
		b.link(met)
		return
	}
	if data, err := b.host.read(p); err == nil {
		b.file(p, data)
	}
}

func (b *builder) file(p string, data []byte) {
	b.files[p] = File{Path: p, Mode: uint32(os.FileMode(0o644)), Data: data}
}
