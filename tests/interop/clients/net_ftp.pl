# Does the steps of tests/interop with Net::FTP: JSON in, JSON out.

use strict;
use warnings;
use JSON::PP;
use Net::FTP;

# Bytes are characters of latin-1; strings made of such are bytes to Perl.
local $/;
my $job = JSON::PP->new->utf8->decode(scalar <STDIN>);

my $ftp = Net::FTP->new(
    $job->{host},
    Port    => $job->{port},
    Passive => $job->{command} =~ /V$/ ? 1 : 0,
    Timeout => 25,
    protection(),
) or die "cannot connect: $@";
if ($job->{tls} && !$job->{tls}{implicit}) {
    $ftp->starttls or failed("AUTH TLS");
}
$ftp->login($job->{user}, $job->{password}) or failed("login");

sub protection {
    my $tls = $job->{tls} or return ();
    (my $version = "TLSv$tls->{version}") =~ tr/./_/;
    return (
        SSL_ca_file => $tls->{authority},
        SSL_version => $version,
        $tls->{implicit} ? (SSL => 1) : (),
    );
}

sub failed { die "$_[0] failed: " . $ftp->code . " " . $ftp->message }

my %do = (
    Get => sub {
        my ($step) = @_;
        $ftp->type($step->{ascii} ? "A" : "I") or failed("TYPE");
        $ftp->get($step->{remote}, $step->{local}, $step->{offset} || undef) or failed("get");
    },
    Put => sub {
        my ($step) = @_;
        $ftp->type($step->{ascii} ? "A" : "I") or failed("TYPE");
        open my $file, "<:raw", $step->{local} or die "$step->{local}: $!";
        if ($step->{offset}) {
            seek $file, $step->{offset}, 0;
            $ftp->restart($step->{offset});
        }
        $ftp->put($file, $step->{remote}) or failed("put");
        # After an upload from a handle, what the server says decides.
        $ftp->ok or failed("put");
    },
    Abort => sub {
        my ($step) = @_;
        $ftp->binary;
        my $data = $ftp->retr($step->{remote}) or failed("retr");
        $data->read(my $buffer, 1, 25) or die "nothing came";
        # As its documentation has it: of the connection, not of the session.
        $data->abort;
    },
);

my @listings;
for my $step (@{ $job->{steps} }) {
    if ($step->{do} eq "Listing") {
        my @lines = $step->{command} eq "LIST"
            ? $ftp->dir($step->{remote})
            : $ftp->ls($step->{remote});
        $ftp->ok or failed("listing");
        push @listings, \@lines;
    }
    else {
        $do{ $step->{do} }->($step);
    }
}
$ftp->quit;

print JSON::PP->new->ascii->encode(\@listings);
