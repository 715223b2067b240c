#!/usr/bin/env python3
"""Reads a snapshot out of a repository by nothing but Sources/FleetRepository/FORMAT.md: the proof that the document is
enough, and a last resort. Slow; needs Python's cryptography and the zstd program.

    read-repository.py REPOSITORY KEYFILE SNAPSHOT OUT       KEYFILE holds the master or the recovery key
"""
import hashlib, hmac, json, struct, subprocess, sys, tempfile
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
root, keytext, name, out = sys.argv[1:]
H=lambda k,m: hmac.new(k,m,hashlib.sha256).digest()
derive=lambda key,p,salt=b"\0": H(H(salt,key),p.encode()+b"\1")
AL="0123456789ABCDEFGHJKMNPQRSTVWXYZ"
def parse(t):
    t="".join(t.split()); role="master" if "fleet-master-" in t.lower() else "recovery"
    d=t.lower().split(f"fleet-{role}-")[1].replace("-","").upper()
    n=0
    for c in d: n=n*32+AL.index(c)
    b=n.to_bytes(35,"big"); assert hashlib.sha256(f"fleet-{role}".encode()+b[:32]).digest()[:3]==b[32:]
    return role,b[:32]
role,key=parse(open(keytext).read()); cfg=json.load(open(root+"/config"))
def unseal(k,s,a): return AESGCM(k).decrypt(s[:12],s[12:],a.encode())
for s in cfg["slots"]:
    if s["role"]==role: dk=unseal(derive(key,"fleet repository key slot",bytes.fromhex(s["salt"])),bytes.fromhex(s["wrapped"]),f"{cfg['repository']} {role}")
class R:
    def __init__(s,b): s.b,s.p=b,0
    def raw(s,n): s.p+=n; return s.b[s.p-n:s.p]
    def fixed(s): return struct.unpack("<Q",s.raw(8))[0]
    def v(s):
        r=sh=0
        while True:
            c=s.b[s.p]; s.p+=1; r|=(c&127)<<sh; sh+=7
            if c<128: return r
    def z(s): n=s.v(); return (n>>1)^-(n&1)
    def block(s): return s.raw(s.v())
def zstd(data,prefix=b""):
    with tempfile.TemporaryDirectory() as t:
        open(t+"/a.zst","wb").write(data); x=[]
        if prefix: open(t+"/p","wb").write(prefix); x=["--patch-from="+t+"/p"]
        return subprocess.run(["zstd","-q","-d","-c","--long=30",*x,t+"/a.zst"],check=True,stdout=subprocess.PIPE).stdout
def packed(b): r=R(b); n=r.v(); d=zstd(b[r.p:]); assert len(d)==n; return d
fkey=lambda kind,salt: derive(dk,"fleet repository file "+kind,salt)
packs={}
def pack(pid):
    if pid in packs: return packs[pid]
    b=open(f"{root}/packs/{pid.hex()}.pack","rb").read(); assert b[:8]==b"FLTPACK1" and b[8:24]==pid
    k=fkey("FLTPACK1",pid); off,ln=struct.unpack("<QQ",b[-24:-8]); assert b[-8:]==b"FLTPEND1"
    r=R(packed(unseal(k,b[off:off+ln],"index"))); ps=[r.raw(16) for _ in range(r.v())]; bl=[]; end=24; start=0
    for i in range(r.v()):
        o=end+r.z(); l=r.v(); pages=r.v(); depth=r.v(); bases=[]; pk=od=0
        for _ in range(r.v()):
            np=pk+r.z(); o2=(od if np==pk else 0)+r.z(); c=r.v(); bases.append((ps[np],o2,c)); pk,od=np,o2+c
        bl.append((o,l,pages,bases,start)); end=o+l; start+=pages
    packs[pid]=(b,k,bl,{}); return packs[pid]
def page(pid,ordinal):
    b,k,bl,cache=pack(pid)
    lo,hi=0,len(bl)
    while hi-lo>1:
        m=(lo+hi)//2
        if bl[m][4]<=ordinal: lo=m
        else: hi=m
    if lo not in cache:
        o,l,n,bases,_=bl[lo]
        prefix=b"".join(page(p,o2+i) for p,o2,c in bases for i in range(c))
        cache[lo]=zstd(unseal(k,b[o:o+l],f"block {lo}"),prefix); assert len(cache[lo])==n*4096
    i=ordinal-bl[lo][4]; return cache[lo][i*4096:i*4096+4096]
def snap(name):
    b=open(f"{root}/snapshots/{name}","rb").read(); k=fkey("FLTSNAP1",b[8:24]); h,m=struct.unpack("<II",b[24:32])
    r=R(unseal(k,b[32:32+h],"head of "+name)); lin,mem=r.block(),r.block(); r.fixed(); length=r.v(); parent=r.block().decode(); r.v()
    table=[(r.raw(16),r.v())[0] for _ in range(r.v())]; r.block(); tail=r.block(); payload=r.block()
    runs=R(packed(unseal(k,b[32+h:32+h+m],"map of "+name))); base=snap(parent)[0] if parent else []
    mp=[]; lp=lo=0
    while len(mp)<length//4096:
        op=runs.v(); n=op>>1
        if op&1==0: mp+=base[len(mp):len(mp)+n]
        else:
            lp+=runs.z(); o=lo+runs.z(); mp+=[(table[lp],o+i) for i in range(n)]; lo=o+n
    return mp,tail,payload
mp,tail,payload=snap(name)
with open(out,"wb") as f:
    for p,o in mp: f.write(page(p,o))
    f.write(tail)
print(f"{len(mp)} pages and {len(tail)} bytes written to {out}; record: {payload.decode()}")
