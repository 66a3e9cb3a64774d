// Does the steps of tests/interop with basic-ftp: JSON in, JSON out.

"use strict";

const fs = require("fs");
const { PassThrough } = require("stream");
const ftp = require("basic-ftp");

const job = JSON.parse(fs.readFileSync(0, "utf8"));

function protection() {
    if (!job.tls) {
        return {};
    }
    const version = "TLSv" + job.tls.version;
    return {
        secure: job.tls.implicit ? "implicit" : true,
        secureOptions: {
            ca: fs.readFileSync(job.tls.authority), minVersion: version, maxVersion: version,
        },
    };
}

async function open() {
    const client = new ftp.Client(25000);
    client.ftp.encoding = "latin1"; // bytes, not text
    await client.access({ ...job, ...protection() });
    client.prepareTransfer =
        job.command === "PASV" ? ftp.enterPassiveModeIPv4 : ftp.enterPassiveModeIPv6;
    return client;
}

async function get(client, step) {
    await client.send(step.ascii ? "TYPE A" : "TYPE I");
    await client.downloadTo(step.local, step.remote, step.offset);
}

async function put(client, step) {
    await client.send(step.ascii ? "TYPE A" : "TYPE I");
    if (step.offset) {
        await client.appendFrom(step.local, step.remote, { localStart: step.offset });
    } else {
        await client.uploadFrom(step.local, step.remote);
    }
}

async function abort(client, step) {
    const sink = new PassThrough();
    sink.once("data", () => client.close());
    let failure = null;
    await client.downloadTo(sink, step.remote).catch((error) => { failure = error; });
    if (failure === null) {
        throw new Error("the download was not aborted");
    }
}

async function main() {
    const listings = [];
    let client = await open();
    for (const step of job.steps) {
        if (client.closed) {
            client = await open();
        }
        switch (step.do) {
            case "Get": await get(client, step); break;
            case "Put": await put(client, step); break;
            case "Abort": await abort(client, step); break;
            default:
                client.availableListCommands = [step.command];
                listings.push((await client.list(step.remote)).map((entry) => entry.name));
        }
    }
    client.close();
    console.log(JSON.stringify(listings));
}

main().catch((error) => {
    console.log(error.stack);
    process.exit(1);
});
